"""The one part that is compiled; all else about the package is in pyproject.toml.

It is optional: where no C compiler or no header of Python is found, NumPy computes the same.
"""

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "layerprobe.sinks._fletcher",
            ["layerprobe/sinks/_fletcher.c"],
            define_macros=[("Py_LIMITED_API", "0x030B0000")],  # one build for 3.11 and all later
            py_limited_api=True,
            optional=True,
        )
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
