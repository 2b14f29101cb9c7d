--- The engine of an exported page in Node.js, without the page's elements, for the specs.
local helper = require "spec.helper"

local FRAME = [[
const html = require("fs").readFileSync(process.argv[2], "utf8");
const text = (id) => html.match(new RegExp(`id="${id}">([^]*?)</script>`))[1];
global.window = {};
global.document = { getElementById: (id) => ({ textContent: text(id) }) };
const engine = html.match(/<script>\n("use strict";[^]*?simvae\.ready = [^\n]*\n)/)[1];
const simvae = new Function(engine + "return simvae;")();
simvae.ready.then(async () => { console.log(JSON.stringify(await (async () => { %s })())); });
]]

--- What a script says of a page's model.
-- @tparam string folder for a file of the script
-- @tparam string path of the page
-- @tparam string script JavaScript that returns a value, of `simvae`
-- @treturn ?string the value as JSON
-- @treturn ?string why there is none: the reason to give to `pending`
return function(folder, path, script)
  if not helper.have "node" then return nil, "no Node.js" end
  local file = folder .. "/engine.js"
  helper.write(file, (FRAME:gsub("%%s", function() return script end)))
  local out, code = helper.run("node " .. helper.quote(file) .. " " .. helper.quote(path))
  assert(code == 0, out)
  return out
end
