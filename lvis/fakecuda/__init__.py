"""A CUDA device without a GPU: what a run would launch, copy, wait for and hold, from shapes alone.

CPU tensors are real; CUDA tensors are torch's FakeTensors (shape, dtype, strides, no storage). Mixed
devices raise as on a GPU. No time is measured here, and no value is computed.
"""

from lvis.fakecuda.machine import fake_cuda, modules_move_to_fake, move_to_fake
from lvis.fakecuda.recorder import Event, Kernel, Recorder

__all__ = ["Event", "Kernel", "Recorder", "fake_cuda", "modules_move_to_fake", "move_to_fake"]
