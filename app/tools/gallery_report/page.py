"""The page: one HTML file with all pictures in it, no scripts, nothing from elsewhere."""

from __future__ import annotations

import base64
from html import escape
from pathlib import Path
from typing import Sequence

import cv2

from app.capture.pictures import read_picture
from app.errors import SourceError
from app.text import counted
from app.tools.gallery_report.facts import PersonFacts, PhotoFacts

THUMBNAIL_PX = 200
_JPEG_QUALITY = 82

STYLE = """
:root { color-scheme: light dark; --line: #8884; --good: #1a7f4b; --bad: #c0392b; --odd: #b7791f; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 2rem auto; padding: 0 1rem; }
h1 { margin-bottom: .2rem; } h2 { margin: 0; } .muted { opacity: .7; }
section { border-top: 1px solid var(--line); padding: 1.2rem 0; }
.photos { display: flex; flex-wrap: wrap; gap: 1rem; margin-top: .8rem; }
figure { width: 210px; margin: 0; border: 1px solid var(--line); border-radius: 8px; overflow: hidden; }
figure .picture { height: 200px; display: flex; align-items: center; justify-content: center; background: #8882; }
figure img { max-width: 100%; max-height: 200px; display: block; }
figcaption { padding: .5rem .6rem; font-size: 13px; overflow-wrap: anywhere; }
.badge { color: #fff; border-radius: 4px; padding: 0 .4em; background: var(--good); }
.badge.bad { background: var(--bad); } .badge.odd { background: var(--odd); }
li.bad::marker { color: var(--bad); }
"""


def page(people: Sequence[PersonFacts], problems: Sequence[str], threshold: float, embedder: str, folder: Path) -> str:
    """The whole page as text, people with wrong photos first. Photos are read from `folder`."""
    people = sorted(
        people, key=lambda person: not any(f.wrong_person or not f.photo.finding.used for f in person.photos)
    )
    photos = sum(len(person.photos) for person in people)
    used = sum(person.used for person in people)
    summary = (
        f"{counted(len(people), 'person', 'people')}, {counted(photos, 'photo')}, {used} used; {escape(embedder)}, "
        f"threshold {threshold:.2f}"
    )
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8"><title>Gallery</title>',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<style>{STYLE}</style></head><body>",
            f"<h1>Gallery</h1><p class='muted'>{escape(str(folder))}: {summary}</p>",
            _problems(problems),
            *(_person(person, threshold, folder) for person in people),
            "</body></html>",
            "",
        ]
    )


def _problems(problems: Sequence[str]) -> str:
    if not problems:
        return "<p>No photo looks like another person's, and every photo was read.</p>"
    return "<h2>To check</h2><ul>" + "".join(f"<li class='bad'>{escape(text)}</li>" for text in problems) + "</ul>"


def _person(person: PersonFacts, threshold: float, folder: Path) -> str:
    nearest = person.nearest
    lines = [f"{person.used} of {counted(len(person.photos), 'photo')} used"]
    if nearest is not None and nearest.other_photo is not None and nearest.other is not None:
        warning = ", which is above the threshold" if nearest.other >= threshold else ""
        lines.append(
            f"nearest other person: {nearest.other_photo.person}, {nearest.other:.2f}{warning} "
            f"({nearest.photo.path} and {nearest.other_photo.path})"
        )
    missing = "".join(f"<li>{escape(text)}</li>" for text in person.missing)
    return (
        f"<section><h2>{escape(person.name)}</h2><div class='muted'>{'<br>'.join(map(escape, lines))}</div>"
        + (f"<ul>{missing}</ul>" if missing else "")
        + f"<div class='photos'>{''.join(_photo(facts, folder) for facts in person.photos)}</div></section>"
    )


def _photo(facts: PhotoFacts, folder: Path) -> str:
    finding = facts.photo.finding
    kind, verdict = ("badge", "used") if finding.used else ("badge bad", finding.why)
    badges = [f"<span class='{kind}'>{escape(verdict)}</span>"]
    if facts.wrong_person:
        badges.append("<span class='badge bad'>another person?</span>")
    if facts.copy_of is not None:
        badges.append("<span class='badge odd'>copy</span>")
    lines = [" ".join(badges), f"<b>{escape(facts.photo.path)}</b>"]
    if finding.faces_found:
        rotated = ", rotated" if finding.rotation_fixed else ""
        faces = counted(finding.faces_found, "face")
        lines.append(f"{finding.face_px:.0f} px, sharpness {finding.sharpness:.0f}, {faces}{rotated}")
    if facts.own is not None:
        lines.append(f"with the person's other photos: {facts.own:.2f}")
    if facts.other is not None and facts.other_photo is not None:
        lines.append(f"with {escape(facts.other_photo.person)}: {facts.other:.2f}")
    if facts.copy_of is not None:
        lines.append(f"the same picture as {escape(facts.copy_of.path)}")
    if finding.message:
        lines.append(escape(finding.message))
    return (
        f"<figure><div class='picture'>{_thumbnail(folder / facts.photo.path)}</div>"
        f"<figcaption>{'<br>'.join(lines)}</figcaption></figure>"
    )


def _thumbnail(path: Path) -> str:
    try:
        picture = read_picture(path)
    except SourceError:
        return "<span class='muted'>cannot be shown</span>"
    scale = THUMBNAIL_PX / max(picture.shape[:2])
    if scale < 1:
        picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1]
    encoded = base64.b64encode(data.tobytes()).decode("ascii")
    return f"<img alt='' src='data:image/jpeg;base64,{encoded}'>"
