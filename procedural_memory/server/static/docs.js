"use strict";

// The search of ReDoc would start a worker from text, which the policy of the page forbids.
if (document.getElementById("swagger")) {
  SwaggerUIBundle({
    url: "openapi.json",
    dom_id: "#swagger",
    deepLinking: true,
    presets: [SwaggerUIBundle.presets.apis, SwaggerUIBundle.SwaggerUIStandalonePreset],
  });
} else {
  Redoc.init("openapi.json", { disableSearch: true }, document.getElementById("redoc"));
}
