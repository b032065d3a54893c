// A small inference engine that runs its layers for layertui: a complete speaker of the protocol.
//
//     engine MODEL.safetensors                      answers layertui on standard input and output
//     engine MODEL.safetensors --capture DIR        runs the model once and writes every layer
//
// The model is a stack of gated MLPs with RMS norms before them. Standard output carries messages,
// one JSON object a line; everything else goes to standard error.

#include <cmath>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <iostream>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "layertui.hpp"

// --- JSON: just enough to read messages and headers

struct Json {
    std::string text;                   // of a string; of anything else as it was written
    std::vector<Json> items;            // of an array
    std::map<std::string, Json> fields; // of an object
};

struct Parser {
    const std::string& in;
    std::size_t at = 0;

    [[noreturn]] void fail() { throw std::runtime_error("damaged JSON"); }
    void space() { while (at < in.size() && std::isspace(static_cast<unsigned char>(in[at]))) ++at; }
    char next() { space(); if (at >= in.size()) fail(); return in[at]; }
    void eat(char wanted) { if (next() != wanted) fail(); ++at; }

    std::string string() {
        eat('"');
        std::string out;
        while (at < in.size() && in[at] != '"') {
            if (in[at] != '\\') { out += in[at++]; continue; }
            const char kind = in.at(at + 1);
            at += 2;
            if (kind == 'n') out += '\n';
            else if (kind == 't') out += '\t';
            else if (kind == 'u') { out += static_cast<char>(std::stoi(in.substr(at, 4), nullptr, 16)); at += 4; }
            else out += kind;
        }
        eat('"');
        return out;
    }

    Json value() {
        Json found;
        const char first = next();
        if (first == '"') {
            found.text = string();
        } else if (first == '[') {
            ++at;
            while (next() != ']') { found.items.push_back(value()); if (next() == ',') ++at; }
            ++at;
        } else if (first == '{') {
            ++at;
            while (next() != '}') {
                const std::string key = string();
                eat(':');
                found.fields[key] = value();
                if (next() == ',') ++at;
            }
            ++at;
        } else {
            const std::size_t begin = at;
            while (at < in.size() && !std::strchr(",]} \t\r\n", in[at])) ++at;
            found.text = in.substr(begin, at - begin);
        }
        return found;
    }
};

Json parse(const std::string& text) { return Parser{text}.value(); }

std::string quoted(const std::string& text) {
    std::string out = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\') out += '\\';
        out += c == '\n' ? ' ' : c;
    }
    return out + "\"";
}

// --- tensors: float32 only

struct Tensor {
    std::vector<std::int64_t> shape;
    std::vector<float> values;

    std::int64_t width() const { return shape.back(); }
    std::int64_t rows() const { return static_cast<std::int64_t>(values.size()) / width(); }
};

using Tensors = std::map<std::string, Tensor>;

Tensors load(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    std::uint64_t length = 0;
    file.read(reinterpret_cast<char*>(&length), 8);
    if (!file || length > (1u << 26)) throw std::runtime_error("cannot read " + path);
    std::string header(length, ' ');
    file.read(header.data(), static_cast<std::streamsize>(length));
    Tensors found;
    for (const auto& [key, entry] : parse(header).fields) {
        if (key == "__metadata__") continue;
        if (entry.fields.at("dtype").text != "F32") throw std::runtime_error(key + ": only float32 is run here");
        Tensor tensor;
        std::size_t count = 1;
        for (const Json& size : entry.fields.at("shape").items) {
            tensor.shape.push_back(std::stoll(size.text));
            count *= static_cast<std::size_t>(tensor.shape.back());
        }
        tensor.values.resize(count);
        file.seekg(static_cast<std::streamoff>(8 + length + std::stoull(entry.fields.at("data_offsets").items.at(0).text)));
        file.read(reinterpret_cast<char*>(tensor.values.data()), static_cast<std::streamsize>(4 * count));
        if (!file) throw std::runtime_error(path + " is too short");
        found[key] = std::move(tensor);
    }
    return found;
}

void save(const std::string& path, const std::string& key, const Tensor& tensor) {
    std::ostringstream header;
    header << "{" << quoted(key) << ":{\"dtype\":\"F32\",\"shape\":[";
    for (std::size_t i = 0; i < tensor.shape.size(); ++i) header << (i ? "," : "") << tensor.shape[i];
    header << "],\"data_offsets\":[0," << 4 * tensor.values.size() << "]}}";
    const std::uint64_t length = header.str().size();
    std::ofstream file(path, std::ios::binary);
    file.write(reinterpret_cast<const char*>(&length), 8);
    file << header.str();
    file.write(reinterpret_cast<const char*>(tensor.values.data()), static_cast<std::streamsize>(4 * tensor.values.size()));
    file.close();
    if (!file) throw std::runtime_error("cannot write " + path);
}

// --- the model

class Model {
public:
    explicit Model(const std::string& path) : weights_(load(path)) {
        while (weights_.count("layers." + std::to_string(depth_) + ".norm.weight")) ++depth_;
    }

    std::vector<std::pair<std::string, std::string>> layers() const {
        std::vector<std::pair<std::string, std::string>> found;
        for (int i = 0; i < depth_; ++i) {
            const std::string layer = "layers." + std::to_string(i);
            found.insert(found.end(), {{layer + ".norm", "RMSNorm"}, {layer + ".mlp.gate_proj", "Linear"},
                                       {layer + ".mlp.up_proj", "Linear"}, {layer + ".mlp.down_proj", "Linear"},
                                       {layer + ".mlp", "MLP"}, {layer, "Layer"}});
        }
        return found;
    }

    // Runs the layer `name`; with a capture, what runs inside is written down.
    Tensor run(const std::string& name, const Tensor& x, layertui::Capture* capture = nullptr) const {
        Tensor y;
        if (ends(name, ".norm")) y = norm(x, weights_.at(name + ".weight"));
        else if (ends(name, "_proj")) y = linear(x, weights_.at(name + ".weight"));
        else if (ends(name, ".mlp")) y = mlp(name, x, capture);
        else y = layer(name, x, capture);
        if (capture) {
            capture->add(name, "input_0", x.values.data(), x.shape, "float32");
            capture->add(name, "output", y.values.data(), y.shape, "float32");
        }
        return y;
    }

    void capture(const std::string& folder) const {
        layertui::Header header;
        header.model = "toy";
        layertui::Capture capture(folder, header);
        Tensor x = weights_.at("input");
        for (int i = 0; i < depth_; ++i) x = run("layers." + std::to_string(i), x, &capture);
        capture.close();
    }

private:
    static bool ends(const std::string& name, const std::string& tail) {
        return name.size() >= tail.size() && name.compare(name.size() - tail.size(), tail.size(), tail) == 0;
    }

    static Tensor norm(const Tensor& x, const Tensor& weight) {
        Tensor y = x;
        for (std::int64_t row = 0; row < x.rows(); ++row) {
            float* v = y.values.data() + row * x.width();
            float squares = 0;
            for (std::int64_t i = 0; i < x.width(); ++i) squares += v[i] * v[i];
            const float scale = 1 / std::sqrt(squares / static_cast<float>(x.width()) + 1e-5f);
            for (std::int64_t i = 0; i < x.width(); ++i) v[i] *= scale * weight.values[static_cast<std::size_t>(i)];
        }
        return y;
    }

    static Tensor linear(const Tensor& x, const Tensor& weight) {  // weight is [out, in]
        const std::int64_t in = x.width(), out = weight.shape[0];
        if (weight.shape[1] != in) throw std::runtime_error("the input has the wrong width");
        Tensor y{x.shape, std::vector<float>(static_cast<std::size_t>(x.rows() * out))};
        y.shape.back() = out;
        for (std::int64_t row = 0; row < x.rows(); ++row)
            for (std::int64_t o = 0; o < out; ++o) {
                float sum = 0;
                for (std::int64_t i = 0; i < in; ++i)
                    sum += x.values[static_cast<std::size_t>(row * in + i)] * weight.values[static_cast<std::size_t>(o * in + i)];
                y.values[static_cast<std::size_t>(row * out + o)] = sum;
            }
        return y;
    }

    Tensor mlp(const std::string& name, const Tensor& x, layertui::Capture* capture) const {
        Tensor gate = run(name + ".gate_proj", x, capture);
        const Tensor up = run(name + ".up_proj", x, capture);
        for (std::size_t i = 0; i < gate.values.size(); ++i)
            gate.values[i] = gate.values[i] / (1 + std::exp(-gate.values[i])) * up.values[i];
        return run(name + ".down_proj", gate, capture);
    }

    Tensor layer(const std::string& name, const Tensor& x, layertui::Capture* capture) const {
        Tensor y = run(name + ".mlp", run(name + ".norm", x, capture), capture);
        for (std::size_t i = 0; i < y.values.size(); ++i) y.values[i] += x.values[i];
        return y;
    }

    Tensors weights_;
    int depth_ = 0;
};

// --- the protocol

void say(const std::string& message) { std::cout << message << std::endl; }  // endl flushes

void serve(const Model& model) {
    std::string line;
    while (std::getline(std::cin, line)) {
        const Json message = parse(line);
        const std::string type = message.fields.at("type").text;
        if (type == "hello") {
            std::string layers;
            for (const auto& [name, kind] : model.layers())
                layers += (layers.empty() ? "" : ",") + ("{\"name\":" + quoted(name)) + ",\"class\":" + quoted(kind) + ",\"inputs\":[\"input_0\"]}";
            say("{\"type\":\"hello\",\"protocol\":1,\"framework\":\"c++\",\"framework_version\":\"1.0\",\"model\":\"toy\",\"layers\":[" + layers + "]}");
        } else if (type == "rerun") {
            const std::string id = message.fields.at("id").text;
            try {
                const Tensors given = load(message.fields.at("tensors").text);
                save(message.fields.at("into").text, "output", model.run(message.fields.at("layer").text, given.at("input_0")));
                say("{\"type\":\"outputs\",\"id\":" + id + "}");
            } catch (const std::exception& error) {
                say("{\"type\":\"error\",\"id\":" + id + ",\"text\":" + quoted(error.what()) + "}");
            }
        }  // a cancel comes too late here: a layer is done before it is read
    }
}

int main(int count, char** words) {
    try {
        if (count < 2) throw std::runtime_error("usage: engine MODEL.safetensors [--capture DIR]");
        const Model model(words[1]);
        if (count == 4 && std::string(words[2]) == "--capture") model.capture(words[3]);
        else serve(model);
    } catch (const std::exception& error) {
        std::cerr << error.what() << std::endl;
        return 1;
    }
}
