import subprocess
import sys

SCRIPT = """
import sys, threading, time
from keras_r3d.data import calls

def slow():
    time.sleep(1)
    print("first call done", flush=True)

def later():
    call = calls.guarded(lambda: print("a call began as Python ended", flush=True))
    while not calls._ending:
        time.sleep(0.01)
    try:
        call()
    except calls.EndingError:
        print("second call refused", flush=True)

for function in (calls.guarded(slow), later):
    threading.Thread(target=function, daemon=True).start()
time.sleep(0.2)
sys.exit(3)
"""


def test_calls_under_way_are_waited_for_and_none_begins_as_python_ends():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, timeout=60)
    assert done.returncode == 3, done.stderr.decode()
    assert done.stdout.split(b"\n")[:2] == [b"second call refused", b"first call done"]
