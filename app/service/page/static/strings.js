/** Everything that the page says, but what the server says itself. */

const counted = (count, one, many = `${one}s`) => `${count} ${count === 1 ? one : many}`;

export const strings = {
  title: "Face recognition",
  people: "People",
  events: "Events",
  status: "Status",
  tryPicture: "Try a picture",
  logOut: "Log out",
  loading: "Loading…",
  retry: "Try again",
  cancel: "Cancel",
  close: "Close",
  serverLost: "The server does not answer. This page continues as soon as it does.",
  interrupted: "The connection broke while this was sent. The file may be too large for the server.",
  busy: "The server is busy. Trying again…",
  busyStill: "The server is busy. Try again in a moment.",
  failed: (status) => `The server refused this (status ${status}).`,
  skip: "Skip to the content",

  live: "Live",
  liveOf: (channel) => `Live picture of ${channel}`,
  noPictureYet: "waiting for the first picture",
  facesSeen(names) {
    const known = names.filter(Boolean);
    const unknown = names.length - known.length;
    return [...known, ...(unknown ? [`${unknown} unknown`] : [])].join(", ") || "no one";
  },
  channelState(state, lastFrame) {
    const words = { opening: "opening", stalled: "stalled", reconnecting: "lost", ended: "ended", failed: "failed" };
    const since = lastFrame && ["stalled", "reconnecting", "failed"].includes(state);
    return (words[state] ?? state) + (since ? ` since ${new Date(lastFrame).toLocaleTimeString()}` : "");
  },
  degraded: (level) => `This machine is too slow for all channels: level ${level} of 4`,
  tooManyViewers: "Too many tabs and programs watch already. This one is shown when another one is closed.",

  logInTitle: "Log in",
  logInWhy: "This server needs a token. This browser stays logged in until you log out, or for 12 hours without use.",
  logInHow: "Make one on the machine of the server with:",
  logInAgain: "You are not logged in any more. Enter a token to continue where you were.",
  token: "Token",
  logIn: "Log in",
  wrongToken: "The server does not know this token.",

  emptyTitle: "No one is enrolled yet",
  emptyWhy: "Enter a name and add a few photos of this person. Cameras and pictures are recognised from then on.",
  enrolTitle: "Add a person",
  name: "Name",
  nameFirst: "Enter the name first.",
  nameKnown: (name) => `${name} is enrolled already. The photos are added to theirs.`,
  filter: "Search for a name",
  noneFound: (text) => `No name contains “${text}”.`,
  peopleCount: (count) => counted(count, "person", "people"),
  photoCount: (count) => counted(count, "photo"),
  notUsed: (count) => (count === 1 ? "1 is not used" : `${count} are not used`),
  photoOf: (name) => `Photo of ${name}`,
  noPhoto: "no usable photo",

  back: "All people",
  notThere: (name) => `${name} is not enrolled. Renamed or deleted, perhaps in another window.`,
  rename: "Rename",
  renameTitle: (name) => `Rename ${name}`,
  renameWhy: "The same person under another name. All photos stay.",
  newName: "New name",
  nameTaken: (name) =>
    `There is a ${name} already. If both are the same person, cancel and choose “This is someone else”.`,
  renamed: (old, name) => `${old} is now called ${name}.`,
  merge: "This is someone else",
  mergeTitle: (name) => `${name} is someone else`,
  mergeWhy: (name) => `Who is it really? All photos of ${name} go to that person, and the name ${name} disappears.`,
  mergeChoose: "The person",
  mergeNone: "choose a person",
  mergePreview: (count, from, into) =>
    `${counted(count, "photo")} of ${from} will be ${count === 1 ? "a photo" : "photos"} of ${into}. This cannot be undone.`,
  mergeDo: "Move the photos",
  merged: (count, from, into) => `${counted(count, "photo")} of ${from} ${count === 1 ? "is" : "are"} now ${into}’s.`,
  remove: "Delete",
  removeTitle: (name) => `Delete ${name}?`,
  removeWhy: (count) => `${counted(count, "photo")} will be deleted from the gallery. This cannot be undone.`,
  removed: (name, count) => `${name} and ${counted(count, "photo")} are deleted.`,
  removePhotoTitle: "Delete this photo?",
  removePhotoWhy: (path) => `${path} will be deleted from the gallery. This cannot be undone.`,
  removePhotoLast: (name) => `It is the last photo of ${name}, who then disappears from the gallery.`,
  removedPhoto: (name) => `1 photo of ${name} is deleted.`,
  morePhotos: "Add photos",

  drop: "Drop photos here, paste them, or choose files",
  dropOne: "Drop a picture here, paste it, or choose a file",
  added: "added",
  refused: "not added",
  waiting: "waiting",
  checking: "checking…",
  outcome: (name, added, refused) =>
    [
      added ? `${counted(added, "photo")} added to ${name}.` : "",
      refused ? `${counted(refused, "photo")} not added: see the reasons below.` : "",
    ].join(" "),

  used: "used",
  unused: "not used",
  usedTitle: "Faces are compared with this photo",
  unusedTitle: "Faces are not compared with this photo",
  facePx: (px) => `face ${Math.floor(px)} px`,

  tryWhy: "Who is in a picture, and why? Nothing is stored.",
  looking: "Looking for faces…",
  noFace: "No face was found in this picture.",
  faces: (count) => `${counted(count, "face")} found`,
  face: (number) => `Face ${number}`,
  unknown: "Unknown",
  nearest: "Most similar people",
  notCompared: "not compared",
  confidence: (share) => `${Math.round(100 * share)} % sure`,
  noPreview: "This browser cannot show files of this kind. The result is still complete.",
  asJson: "The server’s answer as JSON",
  picture: "The picture that was tried",

  reasons: {
    matched: "recognised",
    below_threshold: "resembles no one enough",
    ambiguous: "two people are about equally similar",
    no_one_enrolled: "no one is enrolled",
    name_taken: "another face in the picture resembles this person more",
    not_this_person: "known not to be this person",
    ignored: "an ignored stranger",
    used: "used",
    main_face_used: "several faces; the main one is used",
    several_faces: "several faces",
    low_score: "not clearly a face",
    too_small: "face too small",
    not_a_face: "not a face",
    implausible: "not a plausible face",
    turned_away: "turned away",
    tilted: "tilted",
    cut_off: "cut off",
    too_dark: "too dark",
    too_bright: "too bright",
    too_blurred: "too blurred",
    no_face: "no face found",
    unreadable: "not a readable picture",
    already_enrolled: "this photo is there already",
    other_persons_photo: "this is a photo of another person",
    failed: "sending failed",
  },
};

/** A reason of the server in words, and what the server adds to it: ["face too small", " 31 < 40 px: use a larger picture"]. */
export function explained(reason, why, message = "") {
  const numbers = why.startsWith(reason) ? why.slice(reason.length) : why && `: ${why}`;
  const words = strings.reasons[reason] ?? reason.replaceAll("_", " ");
  return [words, `${numbers.replace(/([<>])/, " $1 ")}${message && `: ${message}`}`];
}
