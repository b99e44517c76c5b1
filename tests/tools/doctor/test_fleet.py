"""Whether the database that devices share can be used, with a real one."""

import dataclasses

import pytest
from ports import free_port
from postgres import MISSING

from app.database.connection import connected
from app.database.devices import greet
from app.database.schema import migrate
from app.fleet.state import FleetFolder
from app.settings import FleetSettings
from app.tools.doctor.checks import Status, run_checks
from app.tools.doctor.fleet import check_fleet

pytestmark = pytest.mark.skipif(MISSING is not None, reason=str(MISSING))


def with_database(settings, address):
    return dataclasses.replace(settings, fleet=FleetSettings(database=address))


def only(findings):
    (finding,) = findings
    return finding


def test_the_tables_and_the_last_exchange_are_said(settings, database):
    shared = with_database(settings, database)
    finding = only(check_fleet(shared))
    assert finding.status is Status.WARNING and "fleet init" in finding.text
    with connected(shared.fleet) as connection:
        migrate(connection)
        finding = only(check_fleet(shared))
        assert finding.status is Status.WARNING and finding.advice.endswith("fleet sync")
        with FleetFolder(settings.gallery.folder).locked() as state:
            greet(connection, state.device, "door", "an embedder", "1")
    finding = only(check_fleet(shared))
    assert finding.status is Status.OK and database in finding.text and " s ago" in finding.text


def test_a_database_that_does_not_answer_is_a_warning_and_a_wrong_address_a_problem(settings):
    address = f"postgresql://127.0.0.1:{free_port()}/faces"
    finding = only(check_fleet(with_database(settings, address)))
    assert finding.status is Status.WARNING and address in finding.text
    assert only(check_fleet(with_database(settings, "mysql://127.0.0.1/faces"))).status is Status.PROBLEM


def test_devices_without_a_database_have_no_such_section(settings):
    assert "Fleet" not in {section.title for section in run_checks(settings, None, "a file", cameras=False)}
