"""A GPU as a worker beside the others: threads offer it their long pairs, and keep what it does not
take.

It passes over one pair at a time. A thread that finds it at work does its pair itself, so that
cores and device are both busy; so it does with the rest of a pair that comes back half done.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ...capture.extras import has_package, needs
from ..measuring.fused import OnePass, Place
from ..measuring.pair_reader import CancelledError
from .process import DeviceError, DeviceProcess, Hello, LostError

# Elements from which a pair goes there: one block. A core passes over as many float32 in 5 ms, not
# much more than reading them takes, here or there. An estimate: it was not measured on a GPU.
LEAST = 1 << 22
BLOCK = 1 << 22  # elements of a side on the device at a time, which takes some 400 MB there
# For tests: passes are made on CPU tensors, of pairs from so many elements on.
ON_CPU_TENSORS = "LAYERTUI_DEVICE_ON_CPU_TENSORS"

Take = Callable[[OnePass, int], None]


class TorchDevice:
    """A `PassDevice`: `name` is as torch has it, or `auto`, the GPU if there is one.

    The process is started by `start`, which waits for it, or by the first pair that is long enough,
    which does not. When it is lost, `lost` says how; nothing is tried again.
    """

    def __init__(self, name: str, least: int = LEAST, block: int = BLOCK) -> None:
        self.name = name
        self.passed = 0  # pairs that it passed over from end to end
        self.lost = ""
        self._least, self._block = least, block
        self._process: DeviceProcess | None = None
        self._hello: Hello | None = None
        self._turn = threading.Lock()
        self._closed = False

    @property
    def pid(self) -> int | None:
        """Of its process, None while there is none."""
        return None if self._process is None else self._process.pid

    @property
    def words(self) -> str:
        """The device in words: `cuda:0 (NVIDIA H200)`."""
        hello = self._hello
        if hello is None or hello.device is None:
            return self.name
        at = hello.device.partition(":")[2]
        named = at and int(at) < len(hello.seen)
        return f"{hello.device} ({hello.seen[int(at)]})" if named else hello.device

    def start(self) -> None:
        """Start the process, and wait until it is ready. Raises `DeviceError`."""
        if not has_package("torch"):
            raise DeviceError(needs("torch", f"--device {self.name}"))
        try:
            self._process = DeviceProcess(self.name)
            self._hello = self._process.hello()
        except LostError as error:
            self.close()
            raise DeviceError(f"--device {self.name}: the process with torch {error}") from error
        if self._hello is None or self._hello.device is None:
            self.close()
            raise DeviceError(self._hello.why if self._hello else "")

    def close(self) -> None:
        """End the process, whatever it does; no other is started."""
        self._closed = True
        self._end()

    def _end(self) -> None:
        process = self._process
        if process is not None:
            process.kill()

    def pass_over_files(
        self, x: Place, y: Place, count: int, tolerances: tuple[float, float], take: Take,
        cancelled: Callable[[], bool] | None,
    ) -> int:  # fmt: skip
        """See `PassDevice`."""
        if count < self._least or not self._turn.acquire(blocking=False):
            return 0
        try:
            return self._pass(x, y, count, tolerances, take, cancelled)
        finally:
            self._turn.release()

    def _pass(
        self, x: Place, y: Place, count: int, tolerances: tuple[float, float], take: Take,
        cancelled: Callable[[], bool] | None,
    ) -> int:  # fmt: skip
        done = 0

        def stop() -> None:
            if cancelled is not None and cancelled():
                raise CancelledError

        try:
            process = self._ready()
            if process is None:
                return 0
            process.ask(
                _request(x, y, count, tolerances, self._block), (x.descriptor, y.descriptor)
            )
            while True:
                answer = process.answer(stop)
                if "pass" not in answer:
                    break
                found = pass_of(answer, count - done)
                take(found, done)
                done += found.taken
            self._ended(answer, done == count)
        except LostError as error:
            self._lose(str(error))
        except CancelledError:
            self._forget()
            raise
        return done

    def _ready(self) -> DeviceProcess | None:
        """The process when it has said hello. Raises `LostError`."""
        if self._closed or self.lost or (self._hello is not None and self._hello.device is None):
            return None
        if self._process is None:
            if not has_package("torch"):
                self._hello = Hello(None, (), None)
                return None
            self._process = DeviceProcess(self.name)
        if self._hello is None:
            self._hello = self._process.hello(wait=False)
            if self._hello is not None and self._hello.device is None:
                self._end()
        return None if self._hello is None or self._hello.device is None else self._process

    def _ended(self, answer: dict[str, Any], whole: bool) -> None:
        """What ended a pair. Raises `LostError`."""
        if "lost" in answer:
            raise LostError(f"gave up ({str(answer['lost'])[:200]})")
        if answer.get("end") not in ("done", "numpy", "unreadable"):
            raise LostError(f"says what cannot be understood: {str(answer)[:80]}")
        if answer["end"] == "done":
            if not whole:
                raise LostError("left out a part of a pair")
            self.passed += 1

    def _lose(self, words: str) -> None:
        where = "with torch" if self._hello is None else f"that measured on {self.words}"
        self.lost = f"the process {where} {words}: its pairs were measured on the CPU"
        self._forget()

    def _forget(self) -> None:
        """End the process; another pair may start a new one."""
        self._end()
        self._process = self._hello = None


def pass_of(answer: dict[str, Any], most: int) -> OnePass:
    """The sums of a block of at most `most` pairs. Raises `LostError`."""
    try:
        parts: list[Any] = [
            tuple(part) if isinstance(part, list) else part for part in answer["pass"]
        ]
        found = OnePass(*parts)
        if [len(part) for part in found[:5]] == _LENGTHS and 0 < found.taken <= most:
            return found
    except (KeyError, TypeError, ValueError):
        pass
    raise LostError("says what cannot be understood")


_LENGTHS = [9, 8, 8, 4, 4]  # of the parts of `OnePass`


def _request(
    x: Place, y: Place, count: int, tolerances: tuple[float, float], block: int
) -> dict[str, Any]:
    places = [{"offset": place.offset, "dtype": place.dtype} for place in (x, y)]
    return {"count": count, "block": block, "tolerances": tolerances, "places": places}


@contextmanager
def opened_device(name: str) -> Iterator[TorchDevice]:
    """The device that `--device` names, `cpu` excepted; its process ends with this. Whether there
    is a GPU is asked at once, except for `auto`. Raises `DeviceError`.
    """
    least = os.environ.get(ON_CPU_TENSORS, "")
    device = TorchDevice("cpu", int(least)) if least.isdecimal() else TorchDevice(name)
    try:
        if name != "auto":
            device.start()
        yield device
    finally:
        device.close()
