"""The page in the browser. `static/` is served as it is: ES modules, without a build step."""
