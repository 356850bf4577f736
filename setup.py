"""Build llmbalance._core from csrc/ (everything else is in pyproject.toml).

LLMBALANCE_CURL_PREFIX=/opt/curl          use the libcurl under this folder
LLMBALANCE_CURL_CONFIG=/path/curl-config  ask this curl-config
LLMBALANCE_DEBUG=1     no optimisation, asserts on
LLMBALANCE_SANITIZE=1  AddressSanitizer and UndefinedBehaviorSanitizer
LLMBALANCE_COVERAGE=1  count branches for gcov
"""

from __future__ import annotations

import hashlib
import os
import shlex
import subprocess
import sys
import sysconfig
import tempfile
from glob import glob
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

NO_LIBCURL = """\
llmbalance needs the headers of libcurl 7.81 or newer, and {reason}.
Install them and build again:
  Debian, Ubuntu   apt-get install libcurl4-openssl-dev pkg-config
  Fedora, RHEL     dnf install libcurl-devel pkgconf-pkg-config
  Alpine           apk add curl-dev pkgconf
  Arch             pacman -S curl pkgconf
  macOS            brew install curl pkg-config
or say where they are: LLMBALANCE_CURL_PREFIX=/opt/curl (holds include/ and lib/)
or LLMBALANCE_CURL_CONFIG=/opt/curl/bin/curl-config."""

# Py_LIMITED_API is not defined on free-threaded builds: abi3 does not exist there.
ABI3 = not sysconfig.get_config_var("Py_GIL_DISABLED")


def stop(reason: str) -> SystemExit:
    return SystemExit("error: " + NO_LIBCURL.format(reason=reason))


def ask(*command: str) -> list[str] | None:
    """The words a command prints, or None if it is missing or fails."""
    try:
        run = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return shlex.split(run.stdout)


def under_prefix(prefix: Path) -> tuple[list[str], list[str]]:
    if not (prefix / "include/curl/curl.h").is_file():
        raise stop(f"LLMBALANCE_CURL_PREFIX={prefix} has no include/curl/curl.h")
    folders = [str(prefix / name) for name in ("lib", "lib64")]
    folders = [folder for folder in folders if os.path.isdir(folder)]
    return [f"-I{prefix}/include"], [f"-L{folder}" for folder in folders] + ["-lcurl"]


def find_libcurl(env: dict[str, str]) -> tuple[list[str], list[str]]:
    """Flags of the compiler and of the linker; stops the build if there are none."""
    if prefix := env.get("LLMBALANCE_CURL_PREFIX"):
        compile_args, link_args = under_prefix(Path(prefix))
    elif config := env.get("LLMBALANCE_CURL_CONFIG"):
        answers = ask(config, "--cflags"), ask(config, "--libs")
        if None in answers:
            raise stop(f"LLMBALANCE_CURL_CONFIG={config} does not run")
        compile_args, link_args = answers
    else:
        for tool in (["pkg-config", "libcurl"], ["curl-config"]):
            compile_args, link_args = ask(*tool, "--cflags"), ask(*tool, "--libs")
            if compile_args is not None and link_args is not None:
                return compile_args, link_args
        raise stop("neither pkg-config nor curl-config finds libcurl")
    # A library outside the system's folders must be found again at run time.
    rpaths = [f"-Wl,-rpath,{arg[2:]}" for arg in link_args if arg.startswith("-L")]
    return compile_args, link_args + rpaths


def whole_program(linker: list[str]) -> list[str]:
    """The switch that optimises all files as one program, if these tools have it.

    A choice crosses a dozen small files for every backend; this takes a twentieth off
    its instructions.
    """
    if sys.platform != "linux":
        return []
    with tempfile.TemporaryDirectory() as folder:
        probe = Path(folder, "probe.c")
        probe.write_text("int probe(void) { return 0; }\n")
        for switch in ("-flto=auto", "-flto"):
            output = ["-o", str(probe.with_suffix(".so"))]
            if ask(*linker, switch, "-fPIC", str(probe), *output) is not None:
                return [switch]
    return []


def flags(env: dict[str, str], whole: list[str]) -> tuple[list[str], list[str]]:
    """What this build asks of the compiler and of the linker, libcurl apart."""
    common = ["-std=c11", "-Wall", "-Wextra", "-fvisibility=hidden", "-pthread"]
    if env.get("LLMBALANCE_SANITIZE"):
        sanitize = ["-fsanitize=address,undefined"]
        checked = ["-O1", "-g", "-UNDEBUG", "-fno-omit-frame-pointer", *sanitize]
        return common + checked, ["-pthread", *sanitize]
    if env.get("LLMBALANCE_COVERAGE"):
        return [*common, "-O0", "-g", "-UNDEBUG", "--coverage"], ["--coverage"]
    if env.get("LLMBALANCE_DEBUG"):
        return [*common, "-O0", "-g", "-UNDEBUG"], ["-pthread"]
    return [*common, "-O3", *whole], ["-pthread", "-O3", *whole]


def is_fresh(target: str, source: str, headers: list[str]) -> bool:
    if not os.path.exists(target):
        return False
    newest = max(os.path.getmtime(path) for path in (source, *headers))
    return os.path.getmtime(target) > newest


class BuildCore(build_ext):
    """Finds libcurl only when something is compiled; compiles only what changed."""

    def finalize_options(self) -> None:
        super().finalize_options()
        self.force = True  # a linked module does not remember the switches it had

    def build_extension(self, ext: Extension) -> None:
        env = dict(os.environ)
        whole = whole_program(self.compiler.linker_so)
        compile_args, link_args = flags(env, whole)
        curl_compile, curl_link = find_libcurl(env)
        ext.extra_compile_args = compile_args + curl_compile
        ext.extra_link_args = link_args + curl_link

        # setuptools itself compiles every file again.  Objects are kept apart by
        # everything that shapes them, so that a fresh one is the right one.
        shape = [*self.compiler.compiler_so, *ext.extra_compile_args, self.plat_name]
        shape += [sysconfig.get_path("include"), *map(str, ext.define_macros)]
        digest = hashlib.sha256("\0".join(shape).encode()).hexdigest()[:12]
        self.build_temp = os.path.join("build", f"objects-{digest}")
        compile_one = self.compiler._compile

        def compile_if_stale(obj: str, source: str, *rest: object) -> None:
            if not is_fresh(obj, source, ext.depends):
                compile_one(obj, source, *rest)

        self.compiler._compile = compile_if_stale
        super().build_extension(ext)


if __name__ == "__main__":
    setup(
        # The string form in pyproject.toml is refused by setuptools before 77, the
        # table form by setuptools to come; this one every setuptools takes.
        license="MIT",
        cmdclass={"build_ext": BuildCore},
        ext_modules=[
            Extension(
                "llmbalance._core",
                sources=sorted(glob("csrc/*.c")),
                depends=sorted(glob("csrc/*.h")),
                define_macros=[("Py_LIMITED_API", "0x030B0000")] if ABI3 else [],
                py_limited_api=ABI3,
            )
        ],
        options={"bdist_wheel": {"py_limited_api": "cp311"}} if ABI3 else {},
    )
