"""The models from the command line: lists, descriptions, and the terms that are shown before a download."""

import functools
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from waiting import PATIENT_S

from app.text import program

ROOT = Path(__file__).parents[2]
WEIGHTS = bytes(range(256)) * 2000
COMMON = {"sha256": hashlib.sha256(WEIGHTS).hexdigest(), "mean": [0, 0, 0], "divisor": 1, "source": "made at random"}
MODELS = {
    "finder": {
        **COMMON,
        "task": "detection",
        "family": "retinaface",
        "file": "finder.onnx",
        "channels": "bgr",
        "min_sizes": [[16, 32], [64, 128], [256, 512]],
        "licence": "MIT",
        "size_bytes": len(WEIGHTS),
        "figures": {"WIDER": "90 %"},
    },
    "teller": {
        **COMMON,
        "task": "embedding",
        "family": "arcface",
        "file": "teller.onnx",
        "channels": "rgb",
        "crop": [112, 112],
        "dimensions": 512,
        "threshold": 0.4,
        "licence": "research only",
        "commercial_use": False,
        "notes": "ask first",
    },
    "guesser": {
        **COMMON,
        "task": "attributes",
        "family": "oracle",
        "file": "guesser.onnx",
        "channels": "rgb",
        "licence": "MIT",
    },
}


class QuietFiles(SimpleHTTPRequestHandler):
    def log_message(self, *words):
        pass


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def serve(handler):
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
    return server


@pytest.fixture
def engines(tmp_path):
    """A folder with a catalogue, whose models are served on this machine."""
    remote = tmp_path / "remote"
    remote.mkdir()
    server = serve(functools.partial(QuietFiles, directory=str(remote)))
    folder = tmp_path / "engines"
    folder.mkdir()
    address = f"http://127.0.0.1:{server.server_port}"
    entries = {name: {**facts, "url": f"{address}/{name}.onnx"} for name, facts in MODELS.items()}
    for name in entries:
        (remote / f"{name}.onnx").write_bytes(WEIGHTS)
    write_catalog(folder, entries)
    yield folder
    server.shutdown()
    server.server_close()


def write_catalog(folder, entries):
    (folder / "catalog.yaml").write_text(yaml.safe_dump(entries, sort_keys=False), encoding="utf-8")
    settings = {"models": {"catalog": str(folder / "catalog.yaml"), "detector": "finder", "embedder": "mobilefacenet"}}
    config(folder).write_text(yaml.safe_dump(settings), encoding="utf-8")


def config(folder):
    return folder.parent / "test.yaml"


@pytest.fixture
def command(engines, answered):
    """Runs `python -m app engines` with that catalogue: exit code, standard output, standard error."""
    return lambda *words: answered("engines", *words, "--config", config(engines))


def row(out, name):
    return " ".join(next(line for line in out.splitlines() if line.startswith(name)).split())


def test_the_list_describes_each_model_and_the_state_of_its_file(command, engines):
    (engines / "teller.onnx").write_bytes(b"something else")
    code, out, _ = command("list")
    assert code == 0
    assert row(out, "finder").split()[1:4] == ["detection", "retinaface", "MIT"]
    assert row(out, "finder").endswith("512.0 kB not downloaded yes")
    assert row(out, "teller").endswith("(NC) 0.0 kB wrong hash")
    assert row(out, "guesser") == "guesser attributes oracle (*) MIT - not downloaded"


def test_attribute_models_are_marked_as_in_use(command, engines):
    _, out, _ = command("show", "guesser")
    assert "in use" not in out
    with config(engines).open("a", encoding="utf-8") as file:
        file.write("attributes:\n  gender_age: guesser\n")
    _, out, _ = command("list")
    assert row(out, "guesser").endswith("not downloaded yes") and not row(out, "teller").endswith("yes")
    _, out, _ = command("pull", "--list")
    assert row(out, "guesser").endswith("not downloaded yes")
    _, out, _ = command("show", "guesser")
    assert "in use" in out


def test_the_list_knows_what_is_installed_and_what_is_built_in(command, engines):
    write_catalog(
        engines,
        {
            "own": {**MODELS["finder"], "file": "here.onnx"},
            "ours": {**MODELS["finder"], "file": "here.onnx", "built_in": True},
            "lost": MODELS["finder"],
        },
    )
    (engines / "here.onnx").write_bytes(WEIGHTS)
    _, out, _ = command("list")
    assert "installed" in row(out, "own")
    assert "built in" in row(out, "ours")
    assert "missing" in row(out, "lost")


def test_the_list_names_supported_models_until_they_are_installed(command, engines):
    described = {key: value for key, value in MODELS["finder"].items() if key not in ("file", "sha256", "size_bytes")}
    write_catalog(engines, {"finder": MODELS["finder"], "first": described, "second": described})
    assert " engines import FILE):\n  first, second\n" in command("list")[1]
    (engines / "my_models.yaml").write_text(yaml.safe_dump({"first": MODELS["finder"]}), encoding="utf-8")
    assert "FILE):\n  second\n" in command("list")[1]
    (engines / "my_models.yaml").write_text(
        yaml.safe_dump({"first": MODELS["finder"], "second": MODELS["finder"]}), encoding="utf-8"
    )
    assert "engines import FILE" not in command("list")[1]


def test_the_list_reports_invalid_entries(command, engines):
    (engines / "my_models.yaml").write_text("mine: {task: detection}\n", encoding="utf-8")
    code, out, _ = command("list")
    assert code == 0 and row(out, "finder").startswith("finder detection")
    assert f"NOT USABLE: {engines / 'my_models.yaml'}:1: model 'mine': family" in out
    code, _, err = command("show", "mine")
    assert code == 2 and "my_models.yaml:1: model 'mine': family" in err


def test_the_list_reports_an_invalid_file_of_entries(command, engines):
    (engines / "my_models.yaml").write_text("mine:\n  task: detection\n family: scrfd\n", encoding="utf-8")
    code, out, _ = command("list")
    assert code == 0 and row(out, "finder").startswith("finder detection")
    assert f"NOT USABLE: {engines / 'my_models.yaml'}:3: " in out


def test_a_model_is_shown_with_all_facts(command, engines):
    (engines / "finder.fp16.engine").write_bytes(b"")
    code, out, _ = command("show", "finder")
    assert code == 0
    for fact in (
        *("--detector finder", "in use", "BGR, (pixel - (0, 0, 0)) / 1", "16/32, 64/128, 256/512", "MIT"),
        *("made at random", "http://127.0.0.1", "WIDER: 90 %", "not downloaded", "engines pull finder"),
        *(COMMON["sha256"], "finder.fp16.engine"),
    ):
        assert fact in out
    _, out, _ = command("show", "teller")
    for fact in ("NON-COMMERCIAL", "512 numbers", "similarity of 0.4", "112 x 112", "ask first"):
        assert fact in out
    _, out, _ = command("show", "guesser")
    assert "oracle; not supported" in out and "gender_age, mask" in out


def test_a_built_in_model_is_shown_with_inputs_and_outputs(answered, monkeypatch):
    monkeypatch.chdir(ROOT)
    code, out, _ = answered("engines", "show", "mobilefacenet")
    assert code == 0
    assert "input ? x 3 x 112 x 112 float32" in out and "embedding ? x 128 float32" in out and "built in" in out


def test_a_damaged_network_with_the_right_hash_is_reported(command, engines):
    (engines / "finder.onnx").write_bytes(WEIGHTS)
    code, out, _ = command("show", "finder")
    assert code == 0
    assert "incomplete" in out


def test_a_supported_model_without_file_is_shown_with_the_import_command(answered, monkeypatch):
    monkeypatch.chdir(ROOT)
    code, out, _ = answered("engines", "show", "glintr100")
    assert code == 0
    assert "112 x 112 pixels, RGB" in out and "NON-COMMERCIAL use only" in out and "SHA-256" not in out
    assert f"{program()} engines import FILE --like glintr100" in out


def test_an_unknown_model_is_an_error_with_the_most_similar_name(command):
    for action in ("show", "pull"):
        code, _, err = command(action, "fnder")
        assert code == 2 and "'fnder'" in err and "'finder'" in err


def test_licence_and_source_are_shown_before_the_download(command, engines):
    code, out, _ = command("pull", "finder")
    assert code == 0
    terms, _, done = out.partition("finder: installed as")
    assert all(fact in terms for fact in ("MIT", COMMON["source"], "http://127.0.0.1"))
    assert "--detector finder" in done
    assert (engines / "finder.onnx").read_bytes() == WEIGHTS


def test_the_licence_is_shown_even_if_the_download_fails(command, tmp_path):
    (tmp_path / "remote" / "finder.onnx").unlink()
    code, out, err = command("pull", "finder")
    assert code == 2
    assert "licence  MIT" in out
    assert "404" in err and "--from FILE" in err


def test_an_installed_model_is_not_downloaded_again(command, engines):
    (engines / "teller.onnx").write_bytes(WEIGHTS)
    code, out, _ = command("pull", "teller")
    assert code == 0 and "already installed" in out


def test_another_file_in_its_place_is_replaced_and_reported(command, engines):
    (engines / "finder.onnx").write_bytes(b"an older model")
    code, out, _ = command("pull", "finder")
    assert code == 0 and "will be replaced" in out
    assert (engines / "finder.onnx").read_bytes() == WEIGHTS


def test_non_commercial_models_need_acceptance_before_anything_is_downloaded(command, engines):
    code, out, err = command("pull", "finder", "teller")
    assert code == 2
    assert "NON-COMMERCIAL" in out and "ask first" in out
    assert "engines pull teller --accept-licence" in err
    assert not list(engines.glob("*.onnx"))
    code, out, _ = command("pull", "finder", "teller", "--accept-licence")
    assert code == 0
    assert sorted(path.name for path in engines.glob("*.onnx")) == ["finder.onnx", "teller.onnx"]
    assert "--embedder teller" in out


def test_an_unsupported_model_is_pulled_with_a_remark(command):
    code, out, _ = command("pull", "guesser")
    assert code == 0 and "oracle" in out and "not supported" in out


def test_a_model_is_installed_from_a_file_or_a_mirror(command, engines, tmp_path):
    (tmp_path / "downloaded.onnx").write_bytes(WEIGHTS)
    code, out, _ = command("pull", "finder", "--from", tmp_path / "downloaded.onnx")
    assert code == 0 and f"from     {tmp_path / 'downloaded.onnx'}" in out
    mirror = yaml.safe_load((engines / "catalog.yaml").read_text())["guesser"]["url"]
    code, _, _ = command("pull", "teller", "--accept-licence", "--from", mirror)
    assert code == 0
    assert (engines / "finder.onnx").read_bytes() == (engines / "teller.onnx").read_bytes() == WEIGHTS


def test_what_can_be_pulled_is_listed(command, engines):
    write_catalog(engines, {"finder": {**MODELS["finder"], "url": "https://example.org/a"}, "own": MODELS["finder"]})
    code, out, _ = command("pull", "--list")
    assert code == 0 and row(out, "finder")
    assert not any(line.startswith("own") for line in out.splitlines())


def test_pulling_nothing_or_several_from_one_file_is_an_error(command):
    code, _, err = command("pull")
    assert code == 2 and "pull --list" in err
    code, _, err = command("pull", "finder", "guesser", "--from", "a.onnx")
    assert code == 2 and "--from" in err


def test_ctrl_c_keeps_the_partial_download(engines):
    stalled, end = threading.Event(), threading.Event()

    class Stalling(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", str(len(WEIGHTS)))
            self.end_headers()
            self.wfile.write(WEIGHTS[:1000])
            stalled.set()
            end.wait()

        def log_message(self, *words):
            pass

    server = serve(Stalling)
    # A shell that runs the tests in the background has them ignore Ctrl-C, which the program would inherit.
    program = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); from app.cli import main; "
    words = ["engines", "pull", "finder", "--from", f"http://127.0.0.1:{server.server_port}/a"]
    words += ["--config", str(config(engines))]
    process = subprocess.Popen(
        [sys.executable, "-c", f"{program} sys.exit(main({words!r}))"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert stalled.wait(PATIENT_S)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENT_S)
    finally:
        process.kill()
        process.wait()
        end.set()
        server.shutdown()
        server.server_close()
    assert process.returncode == 130
    assert "interrupted" in err and "repeat the command" in err and "Traceback" not in err
    assert not (engines / "finder.onnx").exists()


def test_a_measured_backend_is_listed(tmp_path, answered):
    for name in ("catalog.yaml", "mobilefacenet.onnx"):
        shutil.copy(ROOT / "engines" / name, tmp_path)
    config = tmp_path / "config.yaml"
    config.write_text("models:\n  catalog: catalog.yaml\n")
    code, out, _ = answered("engines", "measure", "mobilefacenet", "--config", config)
    assert code == 0 and out.startswith("mobilefacenet: ")
    if (tmp_path / "backend-choices.json").exists():  # more than one backend is installed
        assert "mobilefacenet: " in answered("engines", "list", "--config", config)[1]


def test_an_unknown_model_is_not_measured(config_file, answered):
    code, _, error = answered("engines", "measure", "unheard_of", "--config", config_file)
    assert code == 2 and "unheard_of" in error
