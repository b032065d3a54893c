// A hand-written engine of a qwen3 that writes its tensors as text: no library, float32, no cache.
//
//     text_engine MODEL TOKENS OUT [FAULT [attention]]
//
// MODEL has `index.txt` and `weights.bin`: a line `NAME OFFSET SIZE...` a tensor (OFFSET in values),
// and lines `.NAME VALUE` with the sizes of the model. TOKENS is a file of token ids. OUT gets
// `cpp_NAME.txt` files. FAULT is the name of a tensor that is computed wrong: a rotation counts positions
// from one, an intermediate has no activation, of any other the last value of each row is larger. With `attention`,
// its scores, weights and result are written as well.

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

using Values = std::vector<float>;
using Sizes = std::vector<std::size_t>;

struct Model {
    std::map<std::string, Values> weights;
    std::map<std::string, double> settings;

    explicit Model(const std::string& folder) {
        std::ifstream index(folder + "/index.txt"), data(folder + "/weights.bin", std::ios::binary);
        std::string line, name;
        while (std::getline(index, line)) {
            std::istringstream words(line);
            words >> name;
            if (name[0] == '.') { words >> settings[name.substr(1)]; continue; }
            std::size_t offset = 0, count = 1, size = 0;
            words >> offset;
            while (words >> size) count *= size;
            Values& values = weights[name];
            values.resize(count);
            data.seekg(static_cast<std::streamoff>(4 * offset));
            data.read(reinterpret_cast<char*>(values.data()), static_cast<std::streamsize>(4 * count));
            if (!data) throw std::runtime_error(name + ": weights.bin is too short");
        }
    }

    std::size_t size(const std::string& name) const { return static_cast<std::size_t>(settings.at(name)); }
};

class Engine {
public:
    Engine(const Model& model, std::vector<int> tokens, std::string out, std::string fault, bool attention)
        : model_(model), tokens_(std::move(tokens)), out_(std::move(out)), fault_(std::move(fault)),
          count_(tokens_.size()), width_(model.size("hidden_size")), heads_(model.size("num_attention_heads")),
          groups_(model.size("num_key_value_heads")), dim_(model.size("head_dim")),
          inner_(model.size("intermediate_size")), attention_(attention) {}

    void run() {
        const Values& table = model_.weights.at("model.embed_tokens.weight");
        Values x;
        for (const int token : tokens_) {
            const auto row = table.begin() + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(token) * width_);
            x.insert(x.end(), row, row + static_cast<std::ptrdiff_t>(width_));
        }
        dump("input_embeddings", x, {1, count_, width_});
        for (std::size_t i = 0; i < model_.size("num_hidden_layers"); ++i) layer(i, x);
        x = norm(x, "model.norm.weight", width_);
        dump("final_norm_output", x, {1, count_, width_});
    }

private:
    void layer(std::size_t number, Values& x) {
        const std::string at = "layer_" + std::to_string(number) + "_";
        const std::string weights = "model.layers." + std::to_string(number) + ".";
        const std::string attention = weights + "self_attn.", mlp = weights + "mlp.";
        const Sizes wide{1, count_, width_}, inside{1, count_, inner_};
        const Sizes queries{1, count_, heads_, dim_}, keys{1, count_, groups_, dim_};

        dump(at + "input_hidden_states", x, wide);
        Values y = norm(x, weights + "input_layernorm.weight", width_);
        dump(at + "attn_norm_output", y, wide);
        Values q = linear(y, attention + "q_proj.weight"), k = linear(y, attention + "k_proj.weight");
        Values v = linear(y, attention + "v_proj.weight");
        dump(at + "attn_q_proj_raw", q, {1, count_, heads_ * dim_});
        dump(at + "attn_k_proj_raw", k, {1, count_, groups_ * dim_});
        dump(at + "attn_v_proj_raw", v, {1, count_, groups_ * dim_});
        q = norm(q, attention + "q_norm.weight", dim_);
        k = norm(k, attention + "k_norm.weight", dim_);
        dump(at + "attn_q_normed", q, queries);
        dump(at + "attn_k_normed", k, keys);
        rotate(q, heads_, at + "attn_q_rope");
        rotate(k, groups_, at + "attn_k_rope");
        dump(at + "attn_q_rope", q, queries);
        dump(at + "attn_k_rope", k, keys);
        y = linear(attend(q, k, v, at), attention + "o_proj.weight");
        dump(at + "attn_o_proj", y, wide);
        add(x, y);
        dump(at + "attn_residual_output", x, wide);
        y = norm(x, weights + "post_attention_layernorm.weight", width_);
        dump(at + "mlp_norm_output", y, wide);
        Values gate = linear(y, mlp + "gate_proj.weight");
        Values up = linear(y, mlp + "up_proj.weight");
        dump(at + "mlp_gate_proj", gate, inside);
        dump(at + "mlp_up_proj", up, inside);
        // The fault is a gate without the activation.
        const bool plain = fault_ == at + "mlp_intermediate";
        for (std::size_t i = 0; i < gate.size(); ++i)
            gate[i] *= plain ? up[i] : up[i] / (1 + std::exp(-gate[i]));
        dump(at + "mlp_intermediate", gate, inside);
        add(x, linear(gate, mlp + "down_proj.weight"));
        dump(at + "layer_output", x, wide);
    }

    Values norm(const Values& x, const std::string& name, std::size_t size) const {
        const Values& weight = model_.weights.at(name);
        const float epsilon = static_cast<float>(model_.settings.at("rms_norm_eps"));
        Values y = x;
        for (std::size_t row = 0; row < x.size(); row += size) {
            float squares = 0;
            for (std::size_t i = 0; i < size; ++i) squares += x[row + i] * x[row + i];
            const float scale = 1 / std::sqrt(squares / static_cast<float>(size) + epsilon);
            for (std::size_t i = 0; i < size; ++i) y[row + i] = x[row + i] * scale * weight[i];
        }
        return y;
    }

    Values linear(const Values& x, const std::string& name) const {  // the weight is [out, in]
        const Values& weight = model_.weights.at(name);
        const std::size_t in = x.size() / count_, out = weight.size() / in;
        Values y(count_ * out);
        for (std::size_t t = 0; t < count_; ++t)
            for (std::size_t o = 0; o < out; ++o)
                for (std::size_t i = 0; i < in; ++i) y[t * out + o] += x[t * in + i] * weight[o * in + i];
        return y;
    }

    // Rotates pairs (i, i + half); the fault counts positions from one.
    void rotate(Values& x, std::size_t heads, const std::string& name) const {
        const std::size_t half = dim_ / 2;
        const float theta = static_cast<float>(model_.settings.at("rope_theta"));
        for (std::size_t t = 0; t < count_; ++t)
            for (std::size_t h = 0; h < heads; ++h)
                for (std::size_t i = 0; i < half; ++i) {
                    const float rate = std::pow(theta, -2 * static_cast<float>(i) / static_cast<float>(dim_));
                    const float angle = static_cast<float>(t + (name == fault_)) * rate;
                    float& a = x[(t * heads + h) * dim_ + i];
                    float& b = x[(t * heads + h) * dim_ + i + half];
                    const float c = std::cos(angle), s = std::sin(angle), first = a;
                    a = first * c - b * s;
                    b = b * c + first * s;
                }
    }

    Values attend(const Values& q, const Values& k, const Values& v, const std::string& at) const {
        Values out(count_ * heads_ * dim_), weights(heads_ * count_ * count_), all(weights.size(), -INFINITY);
        const float scale = 1 / std::sqrt(static_cast<float>(dim_));
        for (std::size_t h = 0; h < heads_; ++h) {
            const std::size_t g = h / (heads_ / groups_);
            for (std::size_t t = 0; t < count_; ++t) {
                Values scores(t + 1);
                float most = -INFINITY, sum = 0;
                for (std::size_t s = 0; s <= t; ++s) {
                    for (std::size_t i = 0; i < dim_; ++i)
                        scores[s] += q[(t * heads_ + h) * dim_ + i] * k[(s * groups_ + g) * dim_ + i];
                    scores[s] *= scale;
                    most = std::fmax(most, scores[s]);
                }
                const std::size_t row = (h * count_ + t) * count_;
                for (std::size_t s = 0; s <= t; ++s) all[row + s] = scores[s];
                for (float& score : scores) sum += score = std::exp(score - most);
                for (std::size_t s = 0; s <= t; ++s) weights[row + s] = scores[s] / sum;
                for (std::size_t s = 0; s <= t; ++s)
                    for (std::size_t i = 0; i < dim_; ++i)
                        out[(t * heads_ + h) * dim_ + i] += scores[s] / sum * v[(s * groups_ + g) * dim_ + i];
            }
        }
        if (attention_) {
            dump(at + "attn_scores", all, {1, heads_, count_, count_});
            dump(at + "attn_softmax", weights, {1, heads_, count_, count_});
            dump(at + "attn_sdpa_output", out, {1, count_, heads_, dim_});
        }
        return out;
    }

    static void add(Values& x, const Values& y) {
        for (std::size_t i = 0; i < x.size(); ++i) x[i] += y[i];
    }

    void dump(const std::string& name, Values& values, const Sizes& shape) const {
        const bool own = name.find("_rope") != name.npos || name.find("_intermediate") != name.npos;
        if (name == fault_ && !own)
            for (std::size_t i = shape.back() - 1; i < values.size(); i += shape.back()) values[i] *= 1.25f;
        const std::string path = out_ + "/cpp_" + name + ".txt";
        std::FILE* file = std::fopen(path.c_str(), "w");
        if (!file) throw std::runtime_error("cannot write " + path);
        std::fprintf(file, "# Shape: ");
        for (std::size_t i = 0; i < shape.size(); ++i) std::fprintf(file, "%s%zu", i ? "x" : "", shape[i]);
        for (const float value : values) std::fprintf(file, "\n%.9g", static_cast<double>(value));
        std::fprintf(file, "\n");
        if (std::fclose(file)) throw std::runtime_error("cannot write " + path);
    }

    const Model& model_;
    std::vector<int> tokens_;
    std::string out_, fault_;
    std::size_t count_, width_, heads_, groups_, dim_, inner_;
    bool attention_;
};

int main(int count, char** words) {
    try {
        if (count < 4) throw std::runtime_error("usage: text_engine MODEL TOKENS OUT [FAULT [attention]]");
        const Model model(words[1]);
        std::ifstream file(words[2]);
        std::vector<int> tokens;
        for (int token; file >> token;) tokens.push_back(token);
        if (tokens.empty()) throw std::runtime_error("no token ids");
        Engine(model, tokens, words[3], count > 4 ? words[4] : "", count > 5).run();
    } catch (const std::exception& error) {
        std::cerr << error.what() << std::endl;
        return 1;
    }
}
