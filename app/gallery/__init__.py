"""The enrolled people: a folder of photos, what was found in them, and the rules for adding more.

`Gallery` (gallery.py) is what the rest of the program uses: it reads the folder (folder.py), examines new photos
(photo.py), keeps the findings on disk (cache.py), and adds photos. `EnrolledPeople` (people.py) is its content at one
moment, and checks.py finds suspicious photos in it. names.py derives people from paths; files.py lists, adds and
removes their files.
"""
