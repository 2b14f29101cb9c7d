--- simvae new: writes the script of a simulator to start from.
local catalogue = require "simvae.util.catalogue"
local core = require "simvae.core"
local outcome = require "simvae.cli.outcome"

local KINDS = catalogue.files("simvae.cli.templates", "function")

local function template(kind) return require("simvae.cli.templates." .. kind) end

local function define(command)
  local parts = {}
  for i, kind in ipairs(KINDS) do parts[i] = kind .. ": " .. template(kind).doc end
  command:argument("name", "Name of the simulator, and of its files."):convert(function(text)
    if text:find "^[%a][%w_-]*$" and #text <= 64 then return text end
    return nil, string.format("a name has letters, digits, - and _, and begins with a letter; got '%s'", text)
  end)
  command:option("--kind", table.concat(parts, " "), "function"):choices(KINDS)
end

local function run(a)
  local from, written = template(a.kind), {}
  for _, list in ipairs { from.files, from.made or {} } do
    for suffix in pairs(list) do
      local path = a.name .. suffix
      if core.system.kind(path) then outcome.fail("%s exists already; nothing was written", path) end
      written[#written + 1] = path
    end
  end
  for suffix, text in pairs(from.files) do
    local path = a.name .. suffix
    local ok, why = core.io.write(path, { (text:gsub("@NAME@", a.name)) })
    outcome.need(ok, path .. ": " .. tostring(why))
  end
  for suffix, make in pairs(from.made or {}) do outcome.need(make(a.name .. suffix)) end
  table.sort(written)
  print(table.concat(written, "\n"))
  io.stderr:write(string.format("simvae train %s.lua trains it%s\n", a.name, from.needs and "; it needs " .. from.needs
    or ""))
end

return {
  order = 20,
  summary = "Writes the script of a simulator to start from.",
  text = "Writes a commented script of a simulator, with an example that trains as it is, into the current folder.",
  examples = { "simvae new ball", "simvae new filter --kind circuit" },
  define = define,
  run = run,
}
