-- A device proves with its turn that it is the one that had its id before: a copied memory card has an old one.
alter table device add column turn uuid;
alter table device add column unsent bigint;       -- events that wait on the device; null: it sends none
