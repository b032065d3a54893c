"""Graphs that exporters make of a torch model: values of operators inside the scopes of modules."""

from __future__ import annotations

from .names import EngineNames

_PLUMBING = (
    r"(?:^|/)(?:Constant|ConstantOfShape|Shape|ShapeOf)(?:_\d+)?(?:_output_\d+)?$",
    r"^onnx::\w+$",
)

ONNX = EngineNames(
    "ONNX",
    signs=((r"^/[\w./]+/[A-Z]\w*?_output_\d+$",),),
    scope=r"^/(?P<scope>.+)/(?P<op>[A-Z][A-Za-z]*)(?:_(?P<count>\d+))?_output_(?P<output>\d+)$",
    plumbing=_PLUMBING,
)
OPENVINO = EngineNames(
    "OpenVINO",
    signs=((r"^__module\.",), (r"^/[\w./]+/[A-Z][A-Za-z]*(?:_\d+)?(?:[:.]0)?(?:-output)?$",)),
    scope=(
        r"^(?:__module\.|/)(?P<scope>.+?)/(?:(?:aten|prim|ov_ext)::\w+/)?"
        r"(?P<op>[A-Z][A-Za-z]*)(?:_(?P<count>\d+))?(?:_output_\d+)?(?:[:.](?P<output>\d+))?$"
    ),
    plumbing=(*_PLUMBING, r"/(?:Convert|Broadcast)(?:_\d+)?$"),
)
