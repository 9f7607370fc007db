"""Worker processes are forked from processes that have decoded video."""

import subprocess
import sys

FORK = """
import gc, multiprocessing, sys
import av, numpy as np
{imports}

gc.disable()
def leave_garbage():
    frame = av.VideoFrame.from_ndarray(np.zeros((480, 640, 3), np.uint8), format="rgb24")
    frame.reformat(320, 240, format="yuv420p")
    cycle = [frame]
    cycle.append(cycle)
for _ in range(8):
    leave_garbage()
child = multiprocessing.get_context("fork").Process(target=gc.collect)
child.start()
child.join(120)
hung = child.is_alive()
child.kill()
sys.exit(3 if hung else child.exitcode)
"""


def test_a_forked_worker_does_not_wait_for_the_threads_of_decoded_frames():
    code = FORK.format(imports="import lvis.data")
    assert subprocess.run([sys.executable, "-c", code], timeout=300).returncode == 0
