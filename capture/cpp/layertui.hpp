// layertui.hpp: writes captures that layertui reads. One header, C++17, no dependencies.
//
//     layertui::Capture c("cpp_dump");
//     c.add("model.layers.0.mlp", "output", data, {1, 10, 64}, "float32");
//     c.next_step();
//     c.close();                       // or the destructor, which cannot report errors
//
// Format: `manifest.jsonl`, one JSON object a line, and shards `data-<n>.safetensors`. A shard is
// written under another name, brought to the disk and renamed; the lines of its records are
// appended after that. A shard is closed at 256 MiB, or by the first `add` that comes 2 seconds
// after its first tensor, so a program that is killed loses little. Data are copied at once, and
// are plain little-endian elements in C order (on the host: copy from a GPU first).
//
// Errors are std::runtime_error with one line. One Capture must not be used by two threads at once.

#ifndef LAYERTUI_HPP
#define LAYERTUI_HPP

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <exception>
#include <filesystem>
#include <map>
#include <stdexcept>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#if defined(__unix__) || defined(__APPLE__)
#include <fcntl.h>
#include <unistd.h>
#define LAYERTUI_POSIX 1
#endif

namespace layertui {

// What the whole capture says of itself; empty texts are left out.
struct Header {
    std::string framework = "c++";
    std::string framework_version;
    std::string model;
    std::string dtype;
    std::string device = "cpu";
    std::string prompt;
};

struct Options {
    std::size_t shard_bytes = std::size_t{256} << 20;
    double shard_seconds = 2.0;
};

namespace detail {

struct DType {
    const char* name;
    const char* code;  // of safetensors
    std::size_t size;
};

// Names as layertui has them, then what they are called for short.
inline const DType* find_dtype(const std::string& name) {
    static const DType known[] = {
        {"bool", "BOOL", 1}, {"uint8", "U8", 1}, {"int8", "I8", 1}, {"uint16", "U16", 2},
        {"int16", "I16", 2}, {"uint32", "U32", 4}, {"int32", "I32", 4}, {"uint64", "U64", 8},
        {"int64", "I64", 8}, {"float16", "F16", 2}, {"bfloat16", "BF16", 2},
        {"float32", "F32", 4}, {"float64", "F64", 8}, {"complex64", "C64", 8},
        {"float8_e4m3fn", "F8_E4M3", 1}, {"float8_e5m2", "F8_E5M2", 1},
        {"float8_e8m0fnu", "F8_E8M0", 1}, {"float8_e4m3fnuz", "F8_E4M3FNUZ", 1},
        {"float8_e5m2fnuz", "F8_E5M2FNUZ", 1},
    };
    static const std::pair<const char*, const char*> aliases[] = {
        {"f16", "float16"}, {"bf16", "bfloat16"}, {"f32", "float32"}, {"f64", "float64"},
        {"i8", "int8"}, {"i16", "int16"}, {"i32", "int32"}, {"i64", "int64"},
        {"u8", "uint8"}, {"u16", "uint16"}, {"u32", "uint32"}, {"u64", "uint64"},
    };
    std::string full = name;
    for (const auto& alias : aliases) {
        if (name == alias.first) full = alias.second;
    }
    for (const auto& dtype : known) {
        if (full == dtype.name) return &dtype;
    }
    return nullptr;
}

// The length of the UTF-8 sequence at `i`, 0 where the bytes are none.
inline std::size_t utf8_length(const std::string& text, std::size_t i) {
    const auto byte = [&](std::size_t k) {
        return k < text.size() ? static_cast<unsigned char>(text[k]) : 0u;
    };
    const auto follows = [&](std::size_t k) { return (byte(k) & 0xC0u) == 0x80u; };
    const unsigned first = byte(i), second = byte(i + 1);
    if (first < 0x80) return 1;
    if (first >= 0xC2 && first <= 0xDF) return follows(i + 1) ? 2 : 0;
    if (first >= 0xE0 && first <= 0xEF) {
        const bool overlong = first == 0xE0 && second < 0xA0;
        const bool surrogate = first == 0xED && second > 0x9F;
        return !overlong && !surrogate && follows(i + 1) && follows(i + 2) ? 3 : 0;
    }
    if (first >= 0xF0 && first <= 0xF4) {
        const bool outside = (first == 0xF0 && second < 0x90) || (first == 0xF4 && second > 0x8F);
        return !outside && follows(i + 1) && follows(i + 2) && follows(i + 3) ? 4 : 0;
    }
    return 0;
}

// `text` as a JSON string; bytes that are no UTF-8 become U+FFFD.
inline std::string quoted(const std::string& text) {
    std::string out = "\"";
    for (std::size_t i = 0; i < text.size();) {
        const std::size_t length = utf8_length(text, i);
        const auto c = static_cast<unsigned char>(text[i]);
        if (length == 0) {
            out += "\\ufffd";
            i += 1;
            continue;
        }
        if (c == '"' || c == '\\') {
            out += '\\';
            out += text[i];
        } else if (c < 0x20 || c == 0x7F) {
            char escape[8];
            std::snprintf(escape, sizeof escape, "\\u%04x", c);
            out += escape;
        } else {
            out.append(text, i, length);
        }
        i += length;
    }
    return out + "\"";
}

inline std::string listed(const std::vector<std::int64_t>& shape) {
    std::string out = "[";
    for (std::size_t i = 0; i < shape.size(); ++i) {
        out += (i ? ", " : "") + std::to_string(shape[i]);
    }
    return out + "]";
}

// A file that is written whole or throws. `std::FILE` for the sake of every platform.
class File {
  public:
    File(const std::string& path, const char* mode) : path_(path), file_(std::fopen(path.c_str(), mode)) {
        if (file_ == nullptr) throw std::runtime_error("layertui: " + path + ": cannot be opened");
    }
    File(const File&) = delete;
    File& operator=(const File&) = delete;
    ~File() {
        if (file_ != nullptr) std::fclose(file_);
    }
    void write(const void* data, std::size_t size) {
        if (size != 0 && std::fwrite(data, 1, size, file_) != size) fail();
    }
    void write(const std::string& text) { write(text.data(), text.size()); }
    // To the disk, not only to the kernel.
    void sync() {
        if (std::fflush(file_) != 0) fail();
#ifdef LAYERTUI_POSIX
        if (::fsync(::fileno(file_)) != 0) fail();
#endif
    }
    void close() {
        std::FILE* file = std::exchange(file_, nullptr);
        if (file != nullptr && std::fclose(file) != 0) fail();
    }

  private:
    [[noreturn]] void fail() const {
        throw std::runtime_error("layertui: " + path_ + ": cannot be written (disk full?)");
    }
    std::string path_;
    std::FILE* file_;
};

inline void sync_directory(const std::string& path) {
#ifdef LAYERTUI_POSIX
    const int descriptor = ::open(path.c_str(), O_RDONLY);
    if (descriptor >= 0) {
        ::fsync(descriptor);
        ::close(descriptor);
    }
#else
    (void)path;
#endif
}

}  // namespace detail

// One capture directory, made if it is missing. It must be empty.
class Capture {
  public:
    explicit Capture(const std::string& directory, const Header& header = Header(),
                     const Options& options = Options())
        : directory_(directory), options_(options) {
        std::error_code error;
        std::filesystem::create_directories(directory, error);
        if (error || !std::filesystem::is_directory(directory)) {
            throw std::runtime_error("layertui: " + directory + ": cannot be made");
        }
        if (!std::filesystem::is_empty(directory)) {
            throw std::runtime_error("layertui: " + directory +
                                     ": not empty; choose another directory");
        }
        append(header_line(header));
    }

    Capture(const Capture&) = delete;
    Capture& operator=(const Capture&) = delete;

    ~Capture() {
        // An exception on its way says that the run did not end well: then there is no end line.
        if (std::uncaught_exceptions() == exceptions_) {
            try {
                close();
            } catch (...) {
            }
        } else {
            try {
                flush();
            } catch (...) {
            }
        }
    }

    // A tensor of `shape` with elements of `dtype` ("float32", "bfloat16", "int64", ...; "f32",
    // "bf16" are understood). `slot`: "input_0", "output", "output_1", "value", ... The second time
    // that a step adds a module's slot is its second call.
    void add(const std::string& module, const std::string& slot, const void* data,
             const std::vector<std::int64_t>& shape, const std::string& dtype,
             const std::string& module_class = "") {
        if (closed_) throw std::runtime_error("layertui: add after close");
        const detail::DType* kind = detail::find_dtype(dtype);
        if (kind == nullptr) throw std::runtime_error("layertui: unknown dtype " + dtype);
        const std::size_t size = byte_count(shape, kind->size);
        if (size != 0 && data == nullptr) throw std::runtime_error("layertui: data is null");
        if (!entries_.empty() && (held_ + size > options_.shard_bytes || overdue())) flush();
        if (entries_.empty()) since_ = std::chrono::steady_clock::now();
        Entry entry;
        entry.key = std::to_string(next_);
        entry.dtype = kind;
        entry.shape = shape;
        entry.data.resize(size);
        if (size != 0) std::memcpy(entry.data.data(), data, size);
        entry.line = record_line(module, slot, module_class, entry);
        held_ += size;
        next_ += 1;
        entries_.push_back(std::move(entry));
        if (held_ >= options_.shard_bytes) flush();
    }

    // As `add`, with the element type known: float, double, (u)int8_t to (u)int64_t, bool.
    template <typename T>
    void add(const std::string& module, const std::string& slot, const std::vector<T>& data,
             const std::vector<std::int64_t>& shape, const std::string& module_class = "") {
        static_assert(!std::is_same<T, bool>::value, "std::vector<bool> has no elements in memory");
        if (byte_count(shape, sizeof(T)) != data.size() * sizeof(T)) {
            throw std::runtime_error("layertui: " + module + ": the shape does not fit the data");
        }
        add(module, slot, data.data(), shape, name_of<T>(), module_class);
    }

    // A single number.
    template <typename T>
    void add_scalar(const std::string& module, const std::string& slot, T value) {
        add(module, slot, &value, {}, name_of<T>());
    }

    // Steps are 0 for the prompt, then one for each token; calls are counted anew in each.
    void next_step() { set_step(step_ + 1); }
    void set_step(std::int64_t step) { step_ = step; }

    void set_prompt(const std::string& text, const std::vector<std::int64_t>& input_ids = {}) {
        append("{\"meta\": {\"prompt\": " + detail::quoted(text) + ", \"input_ids\": [" +
               detail::listed(input_ids) + "]}}\n");
    }

    // Bring everything added so far to the disk.
    void flush() {
        if (entries_.empty()) return;
        write_shard();
        std::string lines;
        for (const Entry& entry : entries_) lines += entry.line;
        append(lines);
        records_ += entries_.size();
        stored_ += held_;
        entries_.clear();
        held_ = 0;
        shard_ += 1;
    }

    // The end of a complete capture. Later calls do nothing.
    void close() {
        if (closed_) return;
        flush();
        append("{\"end\": true, \"records\": " + std::to_string(records_) + ", \"bytes\": " +
               std::to_string(stored_) + ", \"never_fired\": []}\n");
        closed_ = true;
    }

  private:
    struct Entry {
        std::string key;
        const detail::DType* dtype = nullptr;
        std::vector<std::int64_t> shape;
        std::vector<unsigned char> data;
        std::string line;
    };

    template <typename T>
    static const char* name_of() {
        static_assert(std::is_arithmetic<T>::value, "give the dtype's name for other types");
        if (std::is_same<T, bool>::value) return "bool";
        if (std::is_floating_point<T>::value) {
            static_assert(!std::is_same<T, long double>::value, "long double cannot be stored");
            return sizeof(T) == 4 ? "float32" : "float64";
        }
        const bool has_sign = std::is_signed<T>::value;
        switch (sizeof(T)) {
            case 1: return has_sign ? "int8" : "uint8";
            case 2: return has_sign ? "int16" : "uint16";
            case 4: return has_sign ? "int32" : "uint32";
            default: return has_sign ? "int64" : "uint64";
        }
    }

    static std::size_t byte_count(const std::vector<std::int64_t>& shape, std::size_t size) {
        std::size_t count = size;
        for (const std::int64_t extent : shape) {
            if (extent < 0) throw std::runtime_error("layertui: a size in a shape is negative");
            const auto wide = static_cast<std::size_t>(extent);
            if (wide != 0 && count > (SIZE_MAX / 2) / wide) {
                throw std::runtime_error("layertui: a shape is larger than any memory");
            }
            count *= wide;
        }
        return count;
    }

    bool overdue() const {
        const std::chrono::duration<double> age = std::chrono::steady_clock::now() - since_;
        return age.count() > options_.shard_seconds;
    }

    std::string shard_name() const {
        char name[40];
        std::snprintf(name, sizeof name, "data-%05llu.safetensors",
                      static_cast<unsigned long long>(shard_));
        return name;
    }

    std::string record_line(const std::string& module, const std::string& slot,
                            const std::string& module_class, const Entry& entry) {
        const std::int64_t call = ++calls_[std::make_tuple(step_, module, slot)];
        return "{\"seq\": " + entry.key + ", \"module\": " + detail::quoted(module) +
               ", \"slot\": " + detail::quoted(slot) + ", \"call\": " + std::to_string(call) +
               ", \"step\": " + std::to_string(step_) + ", \"class\": " +
               (module_class.empty() ? "null" : detail::quoted(module_class)) +
               ", \"call_id\": null, \"shape\": " + detail::listed(entry.shape) +
               ", \"dtype\": \"" + entry.dtype->name + "\", \"device\": null, \"file\": \"" +
               shard_name() + "\", \"key\": \"" + entry.key + "\", \"same_as\": null}\n";
    }

    static std::string header_line(const Header& header) {
        char started[32] = "";
        const std::time_t now = std::time(nullptr);
        if (const std::tm* utc = std::gmtime(&now)) {
            std::strftime(started, sizeof started, "%Y-%m-%dT%H:%M:%SZ", utc);
        }
        std::string line = "{\"layertui\": 1, \"framework\": " + detail::quoted(header.framework);
        const std::pair<const char*, const std::string*> texts[] = {
            {"framework_version", &header.framework_version}, {"model", &header.model},
            {"dtype", &header.dtype}, {"device", &header.device}, {"prompt", &header.prompt},
        };
        for (const auto& text : texts) {
            if (!text.second->empty()) {
                line += std::string(", \"") + text.first + "\": " + detail::quoted(*text.second);
            }
        }
        return line + ", \"started\": \"" + started + "\"}\n";
    }

    void append(const std::string& text) {
        detail::File file(directory_ + "/manifest.jsonl", "ab");
        file.write(text);
        file.sync();
        file.close();
    }

    // Wide elements come first, so that all lie at multiples of their size.
    void write_shard() const {
        std::vector<const Entry*> order;
        for (const Entry& entry : entries_) order.push_back(&entry);
        std::stable_sort(order.begin(), order.end(), [](const Entry* a, const Entry* b) {
            return a->dtype->size > b->dtype->size;
        });
        std::string header = "{\"__metadata__\": {\"format\": \"pt\", \"layertui\": \"1\"}";
        std::size_t begin = 0;
        for (const Entry* entry : order) {
            const std::size_t end = begin + entry->data.size();
            header += ", \"" + entry->key + "\": {\"dtype\": \"" + entry->dtype->code +
                      "\", \"shape\": " + detail::listed(entry->shape) + ", \"data_offsets\": [" +
                      std::to_string(begin) + ", " + std::to_string(end) + "]}";
            begin = end;
        }
        header += "}";
        header.append((64 - header.size() % 64) % 64, ' ');
        unsigned char length[8];
        for (int i = 0; i < 8; ++i) {
            length[i] = static_cast<unsigned char>(std::uint64_t{header.size()} >> (8 * i));
        }
        const std::string partial = directory_ + "/." + shard_name() + ".layertui-partial";
        detail::File file(partial, "wb");
        file.write(length, sizeof length);
        file.write(header);
        for (const Entry* entry : order) file.write(entry->data.data(), entry->data.size());
        file.sync();
        file.close();
        const std::string whole = directory_ + "/" + shard_name();
        if (std::rename(partial.c_str(), whole.c_str()) != 0) {
            throw std::runtime_error("layertui: " + whole + ": cannot be renamed");
        }
        detail::sync_directory(directory_);
    }

    std::string directory_;
    Options options_;
    std::vector<Entry> entries_;
    std::map<std::tuple<std::int64_t, std::string, std::string>, std::int64_t> calls_;
    std::chrono::steady_clock::time_point since_;
    std::size_t held_ = 0, stored_ = 0, records_ = 0;
    std::uint64_t next_ = 0, shard_ = 1;
    std::int64_t step_ = 0;
    int exceptions_ = std::uncaught_exceptions();
    bool closed_ = false;
};

}  // namespace layertui

#endif  // LAYERTUI_HPP
