"""TensorRT 8.0 and 8.2 of JetPack 4 for Python 3.8: the part of NVIDIA's module that this program uses.

Built on the board by install/jetpack4/build.py.
"""

from tensorrt._tensorrt import *  # noqa: F403
from tensorrt._tensorrt import __source__ as __source__
from tensorrt._tensorrt import __version__ as __version__
