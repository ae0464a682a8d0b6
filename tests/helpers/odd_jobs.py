"""Jobs that end oddly, in a module that another process imports quickly."""

import os
import time

from keras_r3d.system.errors import VideoError, WriteError


def odd_job(what):
    """Runs in another process."""
    if what == "hang":
        time.sleep(600)
    if what == "crash":
        os._exit(139)
    if what == "broken":
        raise VideoError("v.avi: it is broken.")
    if what == "full":
        raise WriteError("Could not write v.avi.")
    return what * 2
