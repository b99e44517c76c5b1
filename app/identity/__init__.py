"""Who the faces are: quality gates, comparison with the enrolled people, tracking, votes.

Pure decisions without pixels, files and clocks. For each frame of a channel:

    pending = tracker.update(...)                 # face_tracker.py: which faces need a comparison
    rejections(measure(...), limits)              # gates.py: which of them are good enough
    decide(candidates, threshold, margin)         # index.py: the nearest person, if near enough
    tracked = tracker.record(pending, matches)    # votes.py: the answer of each track
"""
