"""`Recorder`: told of calls, taps and operators, it copies tensors and queues them for writing."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from types import TracebackType
from typing import Any

import torch

from ..errors import CaptureError, RecordError
from ..weights.recorded import write_parameters
from . import active, hooks
from .attachment import Attachment
from .environment import call_modes
from .ops import listen, pause, resume, source_line, stop_listening
from .options import Options
from .parameters import config_of, sources_of
from .scope import Counters, Frame, Scope, Target, record_fields
from .sinks import directory
from .sinks.header import header_line
from .sinks.keeper import Keeper, described
from .sinks.native_sink import NativeSink
from .sinks.pt_sink import PtSink
from .sinks.sink import CallItem, Ending, MetaItem
from .sinks.snapshot import UnreadableError, as_tensor
from .sinks.writer import Writer
from .tree import Encoder


class Recorder:
    """A recording of one model (or of nothing but what `add` is given), as a context manager.

    An error of the disk never reaches the model: the recording stops, and leaving the context
    raises `CaptureError`, unless the model raised itself (then it is a warning).
    """

    def __init__(self, model: torch.nn.Module | None, path: str, options: Options) -> None:
        self.path = path
        self.options = options
        self.never_fired: list[str] = []
        self.notes: list[str] = options.notes()
        self.paused = False  # calls pass unseen
        self._model = model
        self._scope = Scope()
        self._counters = Counters()
        self._lock = threading.RLock()
        self._writer: Writer | None = None
        self._keeper: Keeper | None = None
        self._attachment: Attachment | None = None
        self._names: dict[int, str] = {}
        self._grads: list[Any] = []
        self._token_steps: set[int] = set()
        self._broken: BaseException | None = None
        self._process, self._modes = os.getpid(), {}

    # --- beginning and end

    def __enter__(self) -> Recorder:
        if self._writer is not None:
            raise CaptureError(f"{self.path}: a recorder records only once; make another one")
        directory.prepare(self.path, self.options.overwrite)
        self._keep_parameters()
        writer = Writer(self._sink(), self.options.buffer_bytes)
        try:
            writer.start()
        except OSError as error:
            raise CaptureError(
                f"{self.path}: cannot be written: {error.strerror or error}"
            ) from error
        self._writer = writer
        self._keeper = Keeper(writer, self.options)
        try:
            if self._model is not None:
                self._attach(self._model)
        except BaseException as error:
            self._detach()
            writer.close(Ending(type(error).__name__))
            raise
        active.begin(self)
        return self

    def _keep_parameters(self) -> None:
        """What the model computes with, before the run can change it. Raises `CaptureError`."""
        if self._model is None or self.options.parameters == "none":
            return
        try:
            sources = sources_of(self._model)
            write_parameters(self.path, self.options.parameters, sources, config_of(self._model))
        except (OSError, RecordError) as error:
            words = getattr(error, "strerror", None) or error
            raise CaptureError(f"{self.path}: parameters cannot be written: {words}") from error

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close(error)

    def close(self, error: BaseException | None = None) -> None:
        """Let go of the model, write what is queued, end the capture.

        `error` is what ended the run early. Raises `CaptureError` when not everything that was
        recorded is on disk.
        """
        writer = self._writer
        if writer is None or not active.runs(self):
            return
        active.end(self)
        self._detach()
        if os.getpid() != self._process:  # a forked child, which has no thread that writes
            return
        attachment = self._attachment
        self.never_fired = [] if attachment is None else attachment.silent()
        said = None if error is None else f"{type(error).__name__}: {error}"[:500]
        if said is None and self._broken is not None:
            said = f"recorder: {type(self._broken).__name__}: {self._broken}"[:500]
        if self.notes:
            self._put_meta({"notes": self.notes})
        details = {} if attachment is None else attachment.compiled_details()
        writer.close(Ending(said, self.never_fired, details))
        self._complain(writer, error)

    def _sink(self) -> NativeSink | PtSink:
        options = self.options
        if options.format == "pt":
            return PtSink(self.path)
        header = {**header_line(self._model, options.said()), **options.meta}
        return NativeSink(
            self.path, header, stats_only=options.stats_only, shard_bytes=options.shard_bytes,
            shard_seconds=options.shard_seconds, expected=options.expected,
        )  # fmt: skip

    def _complain(self, writer: Writer, error: BaseException | None) -> None:
        lost = writer.sink.errors if isinstance(writer.sink, PtSink) else []
        if lost:
            more = f" and {len(lost) - 3} more" if len(lost) > 3 else ""
            message = f"{self.path}: no files for {'; '.join(lost[:3])}{more}"
            warnings.warn(message, RuntimeWarning, stacklevel=4)
        failure = writer.failure or self._broken
        if failure is None:
            return
        words = getattr(failure, "strerror", None) or str(failure) or type(failure).__name__
        message = (
            f"{self.path}: recording stopped after {writer.sink.records} records: {words}; "
            "the capture holds what came before"
        )
        if error is not None:  # the run's own exception must arrive unchanged
            warnings.warn(message, RuntimeWarning, stacklevel=4)
        else:
            raise CaptureError(message) from failure

    def _attach(self, model: torch.nn.Module) -> None:
        self._attachment = Attachment(model, self.options)
        self._names = self._attachment.names
        for sentence in self._attachment.compiled_notes():
            self.note(sentence)
        self._attachment.attach(hooks.Listener(self.enter, self.leave))

    def _detach(self) -> None:
        if self._attachment is not None:
            self._attachment.detach()
        for handle in self._grads:
            handle.remove()
        for frame in reversed(self._scope.stack):
            self._stop_listening(frame)
        self._grads = []
        if self._keeper is not None:
            self._keeper.clear()
        self._scope.stack.clear()

    # --- what users call

    def add(
        self, name: str, array: Any, slot: str = "value", *,
        step: int | None = None, call: int | None = None, module_class: str | None = None,
    ) -> None:  # fmt: skip
        """Record a numpy array, torch tensor or number as module `name`, without any module.

        `step` is that of the model, or 0; `call` counts by itself. Raises `CaptureError` for what
        is no array of numbers, and outside of the recording.
        """
        if not active.runs(self):
            raise CaptureError(f"{self.path}: add() works inside `with record(...)` only")
        try:
            tensor = as_tensor(array)
        except UnreadableError as error:
            raise CaptureError(f"{name}: {error}") from error
        name = name.encode("utf-8", "replace").decode()
        with self._lock:
            step = self._counters.step if step is None else step
            number = self._counters.next_call(name, f"{slot}@{step}") if call is None else call
        fields = record_fields(name, slot, number, step, module_class, None)
        self._keep(fields, tensor)

    def tap(self, name: str, value: Any) -> None:
        """Record a tensor, or those in nested containers, under the module that is running."""
        if self._off() or not self.options.wants_step(self._counters.step):
            return
        frame = self._scope.top
        path = name if frame is None or not frame.target.name else f"{frame.target.name}.{name}"

        def keep(slot: str, tensor: Any) -> Any:
            with self._lock:
                step = self._counters.step
                call = self._counters.next_call(slot, f"value@{step}")
            return self._keep(record_fields(slot, "value", call, step, None, frame), tensor)

        with self._guard():
            Encoder(keep).encode(value, path)

    def meta(self, **fields: Any) -> None:
        """Add to what the header says, such as `prompt="..."`. Raises `CaptureError` for values
        that JSON has not.
        """
        try:
            json.dumps(fields, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise CaptureError(f"meta: {error}") from error
        self._put_meta(fields)

    def note(self, sentence: str) -> None:
        """A sentence for whoever opens the capture; also a warning here and now."""
        self.notes.append(sentence)
        warnings.warn(sentence, RuntimeWarning, stacklevel=3)

    # --- what hooks tell

    def enter(self, target: Target, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """A call begins; called before the module can change its arguments."""
        if self._off():
            return
        with self._guard():
            frame = self._push(target)
            if not self._modes:
                self._modes = call_modes()
                self._put_meta(self._modes)
            if frame.record or not self._token_steps:
                self._take_tokens(frame, args, kwargs)
            if frame.record:
                encoder = self._encoder(frame, self.options.inputs)
                frame.args, frame.kwargs = encoder.arguments(args, kwargs)
            if target.compiled:
                frame.pauses = True
                pause()
            elif frame.ops and not any(outer.listens for outer in self._scope.stack):
                frame.listens = True
                listen(self.operator)

    def leave(self, target: Target, output: Any, failed: bool | None) -> None:
        """A call ends. See `hooks.Listener`."""
        if self._off(even_if_broken=True):
            return
        inner = list(self._scope.stack)
        frame = self._scope.pop(target)
        if frame is None:
            return
        for left in reversed(inner[inner.index(frame) :]):
            self._stop_listening(left)
        if failed is None:
            raised = sys.exc_info()[1]
            failed = output is None and raised is not None and raised is not frame.raised
        if failed or not frame.record or self._off():
            return
        with self._guard():
            structure = self._encoder(frame, True, self.options.gradients).encode(output, "output")
            self._put_call(frame, structure)

    def operator(self, name: str, output: Any) -> None:
        """An operator ran inside a chosen module."""
        frame = self._scope.top
        if frame is None or not frame.ops or self._off():
            return
        with self._guard():
            frame.op_count += 1
            with self._lock:
                call = self._counters.next_call(frame.target.name, name)
            more = {"op": name, "source": source_line(), "op_index": frame.op_count}

            def keep(slot: str, tensor: Any) -> Any:
                fields = record_fields(frame.target.name, slot, call, frame.step, None, frame)
                return self._keep({**fields, **more}, tensor)

            Encoder(keep).encode(output, "output")

    # --- inside

    def _off(self, even_if_broken: bool = False) -> bool:
        """True while paused or at work itself, after a failure, and in a forked child."""
        stopped = self._broken is not None and not even_if_broken
        return (
            self.paused or self._scope.busy or stopped or os.getpid() != self._process
            or torch._C._get_tracing_state() is not None
        )  # fmt: skip

    @contextlib.contextmanager
    def _guard(self) -> Iterator[None]:
        """What goes wrong in the recorder ends the recording, not the model's run."""
        self._scope.busy = True
        try:
            yield
        except Exception as error:
            self._broken = error
        finally:
            self._scope.busy = False

    def _push(self, target: Target) -> Frame:
        outer = self._scope.top
        with self._lock:
            if not target.name and not any(f.target is target for f in self._scope.stack):
                self._counters.begin_root()
            call = self._counters.next_call(target.name)
            step, call_id = self._counters.step, self._counters.next_id()
        target.fired = True
        wanted = self.options.wants_step(step) and (call == 1 or self.options.every_call)
        inherited = outer is not None and outer.ops
        frame = Frame(
            target,
            call_id,
            outer.call_id if outer else None,
            call,
            step,
            record=wanted and target.record,
            ops=wanted and (target.ops or inherited) and not target.no_ops,
            raised=sys.exc_info()[1],
        )
        self._scope.stack.append(frame)
        return frame

    def _stop_listening(self, frame: Frame) -> None:
        if frame.listens:
            frame.listens = False
            stop_listening(self.operator)
        if frame.pauses:
            frame.pauses = False
            resume()

    def _encoder(self, frame: Frame, values: bool, gradients: bool = False) -> Encoder:
        def keep(slot: str, tensor: Any) -> Any:
            if not values:
                return described(tensor)
            if gradients and isinstance(tensor, torch.Tensor) and tensor.requires_grad:
                self._watch_gradient(frame, slot, tensor)
            target = frame.target
            fields = record_fields(target.name, slot, frame.call, frame.step, target.kind, frame)
            return self._keep(fields, tensor, recall=not encoder.in_cache)

        encoder = Encoder(keep, frame.target.layer, self._names)
        return encoder

    def _watch_gradient(self, frame: Frame, slot: str, tensor: torch.Tensor) -> None:
        passes = 0

        def arrived(gradient: torch.Tensor) -> None:
            nonlocal passes
            if self._off():
                return
            passes += 1  # a graph may be walked again
            name = f"grad_{slot}" if passes == 1 else f"grad_{slot}_again{passes}"
            target = frame.target
            fields = record_fields(target.name, name, frame.call, frame.step, target.kind, frame)
            with self._guard():
                self._keep(fields, gradient)

        self._grads.append(tensor.register_hook(arrived))

    def _keep(self, fields: dict[str, Any], value: Any, recall: bool = False) -> dict[str, Any]:
        assert self._keeper is not None
        return self._keeper.keep(fields, value, recall)

    def _take_tokens(self, frame: Frame, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """The input ids of each step, the first of which are the prompt."""
        if frame.step in self._token_steps or self._keeper is None:
            return
        ids = kwargs.get("input_ids")
        if ids is None and frame.target.ids_first and args:
            ids = args[0]
        if self._keeper.keep_tokens(frame.step, ids):
            self._token_steps.add(frame.step)

    def _put_call(self, frame: Frame, output: Any) -> None:
        fields = {
            "id": frame.call_id, "parent": frame.parent, "module": frame.target.name,
            "class": frame.target.kind, "n": frame.call, "step": frame.step,
            "args": frame.args, "kwargs": frame.kwargs, "output": output,
        }  # fmt: skip
        if self._writer is not None:
            self._writer.put(CallItem(fields))

    def _put_meta(self, fields: dict[str, Any]) -> None:
        if self._writer is not None:
            self._writer.put(MetaItem(fields))
