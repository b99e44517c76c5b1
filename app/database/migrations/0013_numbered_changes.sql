-- A revision stands for another name, person or photo. When a device is removed, `changed_by` becomes null, which is none.
select from head for update;
drop trigger numbered on person;
create trigger numbered before insert or update of name, gone, deleted on person
  for each row execute function numbered();
drop trigger numbered on photo;
create trigger numbered before insert or update of person, file_name, data, crop, gone on photo
  for each row execute function numbered();
