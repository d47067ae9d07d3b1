"use strict";
// The packaged D3 hands itself to a module loader; this is all of one that it needs.
window.require = { defined: () => false };
window.define = (name, needs, build) => build((window.d3 = {}));
