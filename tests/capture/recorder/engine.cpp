// A program as an engine would have it: writes a capture by layertui.hpp, in several shards.
#include "layertui.hpp"

#include <cstdlib>
#include <cstring>
#include <iostream>

int main(int argc, char** argv) {
    if (argc < 2) return 2;
    try {
        layertui::Header header;
        header.framework = "engine \"x\"";
        header.model = "tiny";
        layertui::Options options;
        options.shard_bytes = 256;
        layertui::Capture c(argv[1], header, options);
        c.set_prompt("say \"hi\"\n\t\xC3\xA9", {3, 40});

        std::vector<float> f32(60);
        for (std::size_t i = 0; i < f32.size(); ++i) f32[i] = 0.5f * static_cast<float>(i) - 3.0f;
        c.add("model.layers.0.mlp", "output", f32.data(), {3, 4, 5}, "float32", "MLP");
        std::vector<std::uint16_t> bf16 = {0x3F80, 0xC000, 0x7FC0, 0xFF80};
        c.add("model.layers.0.mlp", "input_0", bf16.data(), {1, 4}, "bf16");
        c.add("ids \"quoted\" \\ back\n\x01 \xF0\x9F\x98\x80 bad\xFF", "value",
              std::vector<std::int64_t>{-1, INT64_MAX, INT64_MIN}, {3});
        c.add_scalar("loss", "value", 2.5);
        c.add_scalar("flag", "value", true);
        c.add("empty", "value", std::vector<float>{}, {0, 7});
        const std::vector<std::int8_t> big(1000, 7);  // larger than a shard
        c.add("big", "value", big, {10, 100});
        c.add("model.layers.0.mlp", "output", f32.data(), {60}, "f32", "MLP");
        c.next_step();
        c.add("model.layers.0.mlp", "output", f32.data(), {60}, "f32", "MLP");
        if (argc > 2 && std::strcmp(argv[2], "abort") == 0) {
            c.flush();
            c.add("lost", "value", f32.data(), {60}, "f32");
            std::abort();
        }
        if (argc > 2 && std::strcmp(argv[2], "throw") == 0) throw std::runtime_error("engine broke");
        if (argc > 2 && std::strcmp(argv[2], "dtype") == 0) c.add("x", "value", f32.data(), {1}, "f31");
        if (argc > 2 && std::strcmp(argv[2], "shape") == 0) c.add("x", "value", f32, {61});
        c.close();
    } catch (const std::exception& error) {
        std::cerr << error.what() << "\n";
        return 1;
    }
    return 0;
}
