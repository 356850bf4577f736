"""setup.py finds libcurl or says how to get it; the source archive is complete."""

from __future__ import annotations

import importlib.util
import os
import shutil
import stat
import subprocess
import sys
import tarfile
from pathlib import Path
from types import ModuleType

import pytest

pytest.importorskip("setuptools", reason="the build itself needs it")
TOP = Path(__file__).parents[1]
REMEDIES = [
    "apt-get install libcurl4-openssl-dev",
    "dnf install libcurl-devel",
    "apk add curl-dev",
    "pacman -S curl",
    "brew install curl",
]


def load_setup() -> ModuleType:
    spec = importlib.util.spec_from_file_location("llmbalance_setup", TOP / "setup.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


setup = load_setup()


def clean_environment() -> dict[str, str]:
    switch = ("LLMBALANCE_", "LD_PRELOAD")
    return {k: v for k, v in os.environ.items() if not k.startswith(switch)}


def program(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_without_libcurl_the_build_names_the_package_of_every_system(
    tmp_path: Path,
) -> None:
    build = subprocess.run(
        [sys.executable, "setup.py", "-q", "build_ext", "--build-lib", str(tmp_path)],
        cwd=TOP,
        env=clean_environment() | {"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert build.returncode != 0
    assert [remedy for remedy in REMEDIES if remedy not in build.stderr] == []
    assert "Traceback" not in build.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_prefix_without_headers_is_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=f"LLMBALANCE_CURL_PREFIX={tmp_path} has no"):
        setup.find_libcurl({"LLMBALANCE_CURL_PREFIX": str(tmp_path)})


def test_a_prefix_gives_its_folders_to_compiler_linker_and_loader(
    tmp_path: Path,
) -> None:
    (tmp_path / "include/curl").mkdir(parents=True)
    (tmp_path / "include/curl/curl.h").touch()
    (tmp_path / "lib").mkdir()
    lib = f"{tmp_path}/lib"
    assert setup.find_libcurl({"LLMBALANCE_CURL_PREFIX": str(tmp_path)}) == (
        [f"-I{tmp_path}/include"],
        [f"-L{lib}", "-lcurl", f"-Wl,-rpath,{lib}"],
    )


def test_a_curl_config_that_does_not_run_is_named(tmp_path: Path) -> None:
    config = program(tmp_path / "curl-config", "exit 1")
    with pytest.raises(SystemExit, match=f"LLMBALANCE_CURL_CONFIG={config} does not"):
        setup.find_libcurl({"LLMBALANCE_CURL_CONFIG": str(config)})


def test_the_curl_config_asked_for_is_believed(tmp_path: Path) -> None:
    config = program(tmp_path / "curl-config", 'echo "-D$1" | tr -d -- "\\055"')
    assert setup.find_libcurl({"LLMBALANCE_CURL_CONFIG": str(config)}) == (
        ["Dcflags"],
        ["Dlibs"],
    )


def test_curl_config_serves_where_pkg_config_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path / "curl-config", 'echo "flag$1"')
    monkeypatch.setenv("PATH", str(tmp_path))
    assert setup.find_libcurl({}) == (["flag--cflags"], ["flag--libs"])


def test_an_object_is_stale_when_its_source_or_any_header_is_newer(
    tmp_path: Path,
) -> None:
    source, header, obj = (tmp_path / name for name in ("x.c", "x.h", "x.o"))
    for path, age in ((source, 10), (header, 20), (obj, 30)):
        path.touch()
        os.utime(path, (age, age))
    assert setup.is_fresh(str(obj), str(source), [str(header)])
    os.utime(header, (40, 40))
    assert not setup.is_fresh(str(obj), str(source), [str(header)])
    obj.unlink()
    assert not setup.is_fresh(str(obj), str(source), [str(header)])


SMALL_MODULE = """\
#include <Python.h>

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, .m_name = "_core"};

PyMODINIT_FUNC
PyInit__core(void)
{
    return PyModuleDef_Init(&module);
}
"""


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_a_switch_rebuilds_the_module_and_its_absence_brings_the_old_one_back(
    tmp_path: Path,
) -> None:
    shutil.copy(TOP / "setup.py", tmp_path)
    for folder in ("csrc", "llmbalance"):
        (tmp_path / folder).mkdir()
    (tmp_path / "csrc/py_module.h").touch()
    (tmp_path / "csrc/py_module.c").write_text(SMALL_MODULE)
    (tmp_path / "llmbalance/__init__.py").touch()
    curl = program(tmp_path / "curl-config", "echo")

    def build(**switches: str) -> bytes:
        subprocess.run(
            [sys.executable, "setup.py", "-q", "build_ext", "--inplace"],
            cwd=tmp_path,
            env=clean_environment() | {"LLMBALANCE_CURL_CONFIG": str(curl)} | switches,
            check=True,
        )
        (module,) = (tmp_path / "llmbalance").glob("_core*.so")
        return module.read_bytes()

    plain = build()
    (first,) = (tmp_path / "build").glob("objects-*/csrc/py_module.o")
    compiled = first.stat().st_mtime_ns
    assert b".gcda" in build(LLMBALANCE_COVERAGE="1")
    assert build() == plain
    assert first.stat().st_mtime_ns == compiled


def test_the_source_archive_holds_every_file_the_build_reads(tmp_path: Path) -> None:
    setup_py = [sys.executable, "setup.py", "-q"]
    egg_info = ["egg_info", "--egg-base", str(tmp_path)]
    subprocess.run(
        [*setup_py, *egg_info, "sdist", "--dist-dir", str(tmp_path)],
        cwd=TOP,
        capture_output=True,
        check=True,
    )
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        packed = {name.partition("/")[2] for name in tar.getnames()}
    needed = {f"csrc/{path.name}" for path in (TOP / "csrc").glob("*.[ch]")}
    needed |= {"LICENSE", "README.md", "pyproject.toml", "setup.py"}
    needed |= {"llmbalance/_core.pyi", "llmbalance/py.typed"}
    assert needed - packed == set()
