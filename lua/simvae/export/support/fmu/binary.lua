--- The shared library of an FMU, by a C compiler of this machine.
local core = require "simvae.core"

local binary = {}

local SECONDS = 1800 -- that compilers have

local systems = { { "linux", "linux", ".so" }, { "darwin", "darwin", ".dylib" }, { "mingw", "windows", ".dll" } }
local of_fmi2 = { ["x86_64-linux"] = "linux64", ["i686-linux"] = "linux32", ["x86_64-darwin"] = "darwin64",
  ["x86_64-windows"] = "win64" }

-- What a program prints; nil and what it says where it fails.
local function output_of(words)
  local child, why = core.process.spawn(words)
  if not child then return nil, why end
  local program <close> = child
  program:end_input()
  local said = program:read_all(SECONDS)
  local kind, code = program:wait(SECONDS)
  if not said or kind ~= "exit" or code ~= 0 then
    return nil, string.format("%s: %s", words[1], core.number.trim(program:errors() .. (said or "")):gsub("%s+", " "))
  end
  return said
end

-- The platform that a compiler's programs are for: its folder in FMI's terms, and the suffix of libraries.
local function platform_of(machine, fmi)
  local arch = machine:match "^[^-]+"
  if arch == "arm64" then arch = "aarch64" end
  for _, system in ipairs(systems) do
    if arch and machine:find(system[1], 1, true) then
      local tuple = arch .. "-" .. system[2]
      return fmi == 2 and of_fmi2[tuple] or tuple, system[3]
    end
  end
end

local function write(path, text)
  local ok, why = core.io.write(path, { text })
  if not ok then return nil, path .. ": " .. why end
  return true
end

local function compiled(compiler, folder, name, sources)
  local words = { compiler, "-std=c99", "-O3", "-fPIC", "-shared", "-fvisibility=hidden", "-o", name, cwd = folder }
  for _, source in ipairs(sources) do
    local ok, why = write(folder .. "/" .. source.name, source.text)
    if not ok then return nil, why end
    if source.name:find "%.c$" then words[#words + 1] = source.name end
  end
  words[#words + 1] = "-lm"
  local ok, why = output_of(words)
  if not ok then return nil, why end
  local input <close> = assert(io.open(folder .. "/" .. name, "rb"))
  return input:read "a"
end

--- Compiles sources.
-- @tparam string compiler
-- @tparam {table,...} sources name, text
-- @tparam string identifier of the model
-- @tparam integer fmi 2 or 3
-- @treturn string|nil the library; or nil and a message
-- @treturn string its path within the FMU
function binary.of(compiler, sources, identifier, fmi)
  local machine, why = output_of { compiler, "-dumpmachine" }
  if not machine then return nil, why end
  local platform, suffix = platform_of(core.number.trim(machine), fmi)
  if not platform then return nil, string.format("%s: FMI names no platform for '%s'", compiler, machine) end
  local folder = core.system.temporary_folder()
  local name = identifier .. suffix
  local bytes
  bytes, why = compiled(compiler, folder, name, sources)
  core.system.remove_tree(folder)
  if not bytes then return nil, why end
  return bytes, string.format("binaries/%s/%s", platform, name)
end

return binary
