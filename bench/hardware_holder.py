"""A small CUDA program without any CUDA software: holds 256 MiB of each GPU, writes to it for three seconds, then rests.

It makes the process list and the activity metrics show something. The driver's own libcuda.so.1 is all it needs.
"""

import ctypes
import sys
import time

HELD_BYTES = 256 << 20
BUSY_S, REST_S = 3.0, 9.0


class CudaError(Exception):
    """The driver refused a call."""


def check(code: int, what: str) -> None:
    """Anything but 0 is a refusal."""
    if code:
        raise CudaError(f"{what} answered {code}")


def main() -> int:
    """Hold, write, rest, go."""
    cuda = ctypes.CDLL("libcuda.so.1")
    check(cuda.cuInit(0), "cuInit")
    count = ctypes.c_int()
    check(cuda.cuDeviceGetCount(ctypes.byref(count)), "cuDeviceGetCount")
    held: list[tuple[ctypes.c_void_p, ctypes.c_uint64]] = []
    for index in range(count.value):
        device, context, memory = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_uint64()
        check(cuda.cuDeviceGet(ctypes.byref(device), index), "cuDeviceGet")
        check(cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), device), "cuDevicePrimaryCtxRetain")
        check(cuda.cuCtxSetCurrent(context), "cuCtxSetCurrent")
        check(cuda.cuMemAlloc_v2(ctypes.byref(memory), ctypes.c_size_t(HELD_BYTES)), "cuMemAlloc")
        held.append((context, memory))
    print(f"holding {HELD_BYTES >> 20} MiB on {len(held)} GPUs", flush=True)
    until = time.monotonic() + BUSY_S
    while time.monotonic() < until:
        for context, memory in held:
            check(cuda.cuCtxSetCurrent(context), "cuCtxSetCurrent")
            for _ in range(64):
                check(cuda.cuMemsetD32_v2(memory, 1, ctypes.c_size_t(HELD_BYTES // 4)), "cuMemsetD32")
            check(cuda.cuCtxSynchronize(), "cuCtxSynchronize")
    time.sleep(REST_S)
    return 0


if __name__ == "__main__":
    sys.exit(main())
