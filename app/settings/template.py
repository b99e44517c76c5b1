"""Writes `config.yaml`, the commented template of all settings. Run after a change of `schema.py`:

.venv/bin/python -m app.settings.template
"""

from __future__ import annotations

import textwrap

from app.files import PROGRAM_FOLDER
from app.settings.channels import OWN_KEYS, OWN_SECTIONS
from app.settings.schema import all_settings, sections

TEMPLATE = PROGRAM_FOLDER / "config.yaml"

HEADER = """\
# All settings of `python -m app` with their defaults. This file is a template that updates of the program replace:
# put your own settings into config.local.yaml next to it, which git ignores and which is read by itself. Write only
# the lines that differ, without the `# `, and above them the line of their section:
#
#   detection:
#     min_score: 0.8
#
# Order: defaults, config.yaml, config.local.yaml, command line. `--config FILE` reads FILE instead of both files.
# `python -m app --show-settings` prints every value and where it comes from.
# Relative paths count from the folder of the file that they are in. More: docs/files.md

# Channels as NAME: ADDRESS. An address is one of
#   rtsp://user:password@host/path   a network camera
#                                    (${{NAME}} and ${{file:PATH}} stand for a password in the environment or in a file)
#   camera:0                         a USB camera
#   csi:0                            a camera on the CSI port of a Jetson
#   video.mp4 or http://…            a recording
#   images:FOLDER                    a folder of pictures, or a pattern such as images:photos/*.jpg
# sources:
#   door: rtsp://user:password@192.168.1.20/stream1
#   desk: camera:0

# Values of single channels, in the same sections as below. A channel can have its own values in the sections
{own}
# An option on the command line is for all channels.
# channels:
#   door:
#     detection:
#       min_score: 0.7
#     recognition:
#       threshold: 0.5
"""


def template() -> str:
    own = f"{', '.join(OWN_SECTIONS)}; and of {', '.join(OWN_KEYS)}."
    blocks = [HEADER.format(own=textwrap.fill(own, 110, initial_indent="# ", subsequent_indent="# "))]
    for section in sections():
        block = [f"# {section}:"]
        for info in all_settings():
            if info.section == section:
                choices = f": {', '.join(info.choices)}" if info.choices else ""
                block += textwrap.wrap(info.help + choices, 110, initial_indent="#   # ", subsequent_indent="#   # ")
                block.append(f"#   {info.name}: {info.shown_default}")
        blocks.append("\n".join(block) + "\n")
    return "\n".join(blocks)


if __name__ == "__main__":
    TEMPLATE.write_text(template(), encoding="utf-8")
