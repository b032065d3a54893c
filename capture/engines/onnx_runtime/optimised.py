"""The graph that ONNX Runtime makes of a model when it optimises."""

from __future__ import annotations

# pyright: reportMissingImports=false
# The packages `onnx` and `onnxruntime` are optional.
import os
import tempfile

from .index import Index, index_of
from .parts import quiet_options
from .source import Model, in_one_line, open_model


def optimise(model: Model, providers: list[str]) -> tuple[Model, Index]:
    """The model as ONNX Runtime would run it on `providers`, all optimisations done: other nodes,
    and not all of its values. Raises `CaptureError`.
    """
    with tempfile.TemporaryDirectory(prefix="layertui-") as private:
        place = os.path.join(private, "optimised.onnx")

        def make() -> None:
            import onnxruntime

            options = quiet_options()
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
            options.optimized_model_filepath = place
            # What is moved here and there would be kept twice otherwise.
            options.add_session_config_entry(
                "session.optimized_model_external_initializers_file_name", "optimised.data"
            )
            options.add_session_config_entry(
                "session.optimized_model_external_initializers_min_size_in_bytes", "1024"
            )
            if model.weights:
                options.add_external_initializers(
                    list(model.weights), [model.runtime_value(name) for name in model.weights]
                )
            onnxruntime.InferenceSession(
                model.proto.SerializeToString(), options, providers=providers
            )

        in_one_line(make, model.path)
        made = open_model(place)  # its weights are mapped: the files may go
    made.path = model.path
    return made, index_of(made.proto.graph)
