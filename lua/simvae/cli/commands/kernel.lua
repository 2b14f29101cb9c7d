--- simvae kernel: the Jupyter kernel, by which notebooks run Lua with simvae.
local absolute = require "simvae.util.absolute"
local core = require "simvae.core"
local outcome = require "simvae.cli.outcome"
local shell = require "simvae.util.shell"

local function define(command)
  command:argument("action", "install: makes the kernel known to Jupyter."):choices { "install" }
  command:option("--python", "The Python that runs the kernel; it needs ipykernel.", "python3")
  command:option("--prefix", "Installs into PREFIX/share/jupyter/kernels, such as that of a virtual environment; "
    .. "default: the user's own folder.")
  command:option("--lua", "The Lua interpreter of the kernel; default: the one that runs now.")
end

-- The path of a program that the shell finds.
local function program(name)
  local pipe <close> = assert(io.popen("command -v " .. shell.quote(name)))
  local path = pipe:read "l"
  return path and absolute(path)
end

local function run(a)
  local script = package.searchpath("simvae.jupyter", package.path):gsub("init%.lua$", "simvae_kernel.py")
  local cpath = package.searchpath("simvae.core", package.cpath):gsub("simvae/core", "?")
  local lua = a.lua or arg[-1]
  local python = outcome.need(program(a.python), string.format("there is no program '%s'; --python names another one",
    a.python))
  if core.system.kind(script) ~= "file" then outcome.fail("%s is missing from this installation", script) end
  local words = { python, absolute(script), "install", "--lua", outcome.need(program(lua),
    string.format("there is no program '%s'; --lua names another one", lua)), "--cpath", absolute(cpath) }
  if a.prefix then table.move({ "--prefix", a.prefix }, 1, 2, #words + 1, words) end
  io.stdout:flush()
  local ok = os.execute(shell.command(words))
  if not ok then outcome.fail("the kernel is not installed") end
  io.stderr:write "jupyter lab, or another front end, offers it as \"simvae (Lua 5.4)\"\n"
end

return {
  order = 205,
  summary = "Installs the Jupyter kernel.",
  text = "Installs the Jupyter kernel, by which notebooks run Lua with simvae: completion, help with shift-tab, "
    .. "pictures, bars of progress; interrupting a training leaves its checkpoint. It needs Python with ipykernel "
    .. "(pip install ipykernel; Debian: python3-ipykernel).",
  examples = { "simvae kernel install", "simvae kernel install --python .venv/bin/python --prefix .venv" },
  define = define,
  run = run,
}
