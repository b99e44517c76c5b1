"""The example for Docker Compose: its files fit together, and a real broker and a real database take them.

No Docker engine is needed; the containers themselves are not started here.
"""

import argparse
import contextlib
import importlib
import os
import re
import shutil
import subprocess

import pytest
import yaml
from mosquitto import MISSING, Broker
from shipped import ROOT
from waiting import until

from app.settings.reader import read_file, resolve

FOLDER = ROOT / "examples" / "compose"
COMPOSE = yaml.safe_load((FOLDER / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"] == "face-recognition"}
SECRETS = ("owner-password", "device-password", "mqtt-password")


def settings_of(name):
    return resolve([read_file(FOLDER / name)])


def parsed(command):
    """What the command's own parser makes of its words."""
    module = importlib.import_module(f"app.commands.{command[0]}")
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    return parser.parse_args(command[1:])


def test_the_settings_are_those_of_the_services():
    settings = settings_of("config.local.yaml").settings
    assert settings.mqtt.url == "mqtt://mosquitto" and "mosquitto" in SERVICES
    assert settings.fleet.database.partition("@")[2] == "postgres/faces"
    assert settings_of("owner.yaml").settings.fleet.database.partition("@")[2] == "postgres/faces"
    assert SERVICES["postgres"]["environment"]["POSTGRES_DB"] == "faces"
    assert [name for name, _ in settings.sources] == ["door"]


@pytest.mark.parametrize("name", OURS)
def test_commands_of_the_program_are_those_that_exist(name):
    service = OURS[name]
    assert {"fleet", "mqtt"} <= set(service["build"]["args"]["EXTRAS"].split(","))
    if "entrypoint" not in service:
        parsed(service["command"])
        return
    (script,) = service["command"]
    commands = re.findall(r"python3 -m app ([^|]+)", script)
    assert [parsed(command.split()).action for command in commands] == ["status", "migrate", "init"]


@pytest.mark.parametrize("name", SERVICES)
def test_files_volumes_and_secrets_are_there(name):
    service = SERVICES[name]
    text = str(service.get("command"))
    for volume in service.get("volumes", ()):
        source = volume.partition(":")[0]
        if source.startswith("."):
            assert (FOLDER / source).is_file(), source
            text += (FOLDER / source).read_text(encoding="utf-8")
        else:
            assert source in COMPOSE["volumes"], source
    needed = set(re.findall(r"/run/secrets/([\w-]+)", text)) | set(re.findall(r"\$secrets/([\w-]+)", text))
    assert needed <= set(service.get("secrets", ()))
    assert set(service.get("secrets", ())) <= set(COMPOSE["secrets"])
    for other in service.get("depends_on", ()):
        assert other in SERVICES


def test_secrets_are_in_no_file_of_the_repository():
    for name, secret in COMPOSE["secrets"].items():
        assert secret["file"] == f"secrets/{name}"
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert "/examples/compose/secrets/" in ignored
    assert not re.findall(r"password: (?!file:)\S+", (FOLDER / "config.local.yaml").read_text(encoding="utf-8"))


@pytest.fixture
def secrets(tmp_path):
    for name in SECRETS:
        (tmp_path / name).write_text(f"{name} ' \"$x", encoding="utf-8")
    return tmp_path


@pytest.mark.skipif(
    MISSING is not None or shutil.which("mosquitto_passwd") is None, reason="mosquitto is not installed"
)
def test_a_real_broker_takes_its_configuration_and_only_the_password(secrets):
    paho = pytest.importorskip("paho.mqtt.client")
    password = (secrets / "mqtt-password").read_text(encoding="utf-8")
    (secrets / "broker").mkdir()
    passwords = secrets / "broker" / "passwords"
    subprocess.run(["mosquitto_passwd", "-b", "-c", passwords, "faces", password], check=True, capture_output=True)
    passwords.chmod(0o644)
    lines = (FOLDER / "mosquitto.conf").read_text(encoding="utf-8").replace("/mosquitto/data", str(secrets / "broker"))
    with contextlib.closing(Broker(secrets / "broker", lines.splitlines()[1:])) as broker:
        for given, expected in ((password, "Success"), ("wrong", "Not authorized")):
            answers = []
            client = paho.Client(paho.CallbackAPIVersion.VERSION2, reconnect_on_failure=False)
            client.username_pw_set("faces", given)
            client.on_connect = lambda c, d, f, reason, p, answers=answers: answers.append(str(reason))
            client.connect("127.0.0.1", broker.port)
            client.loop_start()
            until(lambda answers=answers: answers)
            client.disconnect()
            client.loop_stop()
            assert answers == [expected]


def test_a_real_database_takes_the_roles_and_devices_can_use_the_tables(postgres, database, secrets, answered):
    if shutil.which("psql") is None:
        pytest.skip("psql is not installed")
    name = database.rpartition("/")[2]
    server = {"PGHOST": "127.0.0.1", "PGPORT": str(postgres.port), "POSTGRES_USER": "admin", "POSTGRES_DB": name}
    # Roles are those of the whole server, which other tests use as well.
    script = (FOLDER / "roles.sh").read_text(encoding="utf-8").replace("faces_", f"{name}_")
    subprocess.run(["sh", "-c", script], env={**os.environ, **server, "SECRETS": str(secrets)}, check=True)
    (secrets / "gallery").mkdir()
    for who, file in (("owner", "owner.yaml"), ("device", "config.local.yaml")):
        fleet = yaml.safe_load((FOLDER / file).read_text(encoding="utf-8"))["fleet"]
        fleet["database"] = postgres.address(name, f"{name}_{who}")
        fleet["password"] = fleet["password"].replace("/run/secrets", str(secrets))
        content = {"fleet": fleet, "gallery": {"folder": str(secrets / "gallery")}}
        (secrets / file).write_text(yaml.safe_dump(content), encoding="utf-8")
    owner, device = secrets / "owner.yaml", secrets / "config.local.yaml"
    assert answered("fleet", "status", "--config", owner)[0] == 1
    assert answered("fleet", "migrate", "--config", owner)[0] == 2
    assert answered("fleet", "init", "--config", owner)[0] == 0
    assert answered("fleet", "status", "--config", owner)[0] == 0
    assert answered("fleet", "sync", "--config", device)[0] == 0
