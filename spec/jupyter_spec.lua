-- The Jupyter kernel: what its Lua side makes of cells, values and cursors, and the whole of it driven by
-- jupyter_client.
local absolute = require "simvae.util.absolute"
local assert = require "luassert"
local cell = require "simvae.jupyter.cell"
local helper = require "spec.helper"
local inspect = require "simvae.jupyter.inspect"
local json = require "simvae.io.json"
local rich = require "simvae.jupyter.rich"
local sv = require "simvae"

local function environment(t) return setmetatable(t or {}, { __index = _G }) end

describe("a cell of a notebook", function()
  it("shows the values of its last lines, after statements", function()
    local env = environment()
    local f, shown = cell.compile("local a = 2\nlocal b = 3\na * b", env)
    assert.is_true(shown)
    assert.equal(6, f())
    assert.same({ 2, 3 }, { env.a, env.b })
    f, shown = cell.compile("local function g(x)\n  return x + 1\nend\ng(\n  41\n)\n-- the answer", env)
    assert.same({ true, 42 }, { shown, f() })
    f, shown = cell.compile("x = 1\ny = 2", env)
    assert.same({ false }, { shown })
    f()
    assert.same({ 1, 2 }, { env.x, env.y })
    f, shown = cell.compile("1,\n2", env)
    assert.same({ true, 1, 2 }, { shown, f() })
    f, shown = cell.compile("local rows = {}\nfor i = 1, 2 do\n  rows[i] = { i }\nend\n{ { 'n' },\n  rows[2] }", env)
    assert.same({ true, { { "n" }, { 2 } } }, { shown, f() })
    f, shown = cell.compile("local c <close> = setmetatable({}, { __close = function() over = true end })\n"
      .. "local k = c\nc == k and not over", env)
    assert.same({ true, true }, { shown, f() })
    assert.same({ true, nil }, { env.over, env.c })
    f, shown = cell.compile("1 + 1\n3 -- the last", env)
    assert.same({ true, 3 }, { shown, f() })
    f, shown = cell.compile("local e = 5\n'text' .. e", env)
    assert.same({ true, "text5" }, { shown, f() })
  end)

  it("is not cut within an expression, a string or a comment", function()
    local env = environment { f = function(t) return t end, n = 0 }
    local f = cell.compile("local t = f\n{ 7 }", env)
    f()
    assert.same({ 7 }, env.t)
    f = cell.compile("local s = [[\nn\n]]", env)
    f()
    assert.equal("n\n", env.s)
    f = cell.compile("local d = 5\n- 3", env)
    f()
    assert.equal(2, env.d)
    assert.equal(3, cell.compile("local e = 3\nreturn e", env)())
    assert.equal("incomplete", select(2, cell.compile("for i = 1, 2 do\n  print(i)", env)))
    assert.matches("^input:2: unexpected symbol near '='", (select(2, cell.compile("x = 1\nx = = 2", env))))
  end)

  it("keeps the numbers of its lines", function()
    local f = cell.compile("local a = 1\n\nlocal b\nb.c", environment())
    local _, why = pcall(f)
    assert.equal("input:4: attempt to index a nil value (local 'b')", why)
  end)
end)

describe("a value in a notebook", function()
  it("is a table where it is a list of rows or records", function()
    local html = rich.of { { name = "w<", std = 0.25 }, { name = "h", std = 2 } }["text/html"]
    assert.matches("<tr><th>name</th><th>std</th></tr>", html, 1, true)
    assert.matches("<td>w&lt;</td><td style=\"text-align:right\">0.25</td>", html, 1, true)
    assert.matches("<tr><td style=\"text%-align:right\">1</td>", rich.of({ { 1, 2 }, { 3, 4 } })["text/html"])
    html = rich.of { { "w<", "h" }, { 1, 2.5 } }["text/html"]
    assert.matches("<tr><th>w&lt;</th><th>h</th></tr>\n<tr><td style=\"text%-align:right\">1</td>", html)
    assert.not_matches("<th>", rich.of({ { "a", "b" }, { "c", "d" } })["text/html"])
    for _, v in ipairs { { 1, 2 }, { {} }, { { { 1 } } }, {}, { { 1 }, a = 2 } } do
      assert.is_nil(rich.of(v)["text/html"])
    end
    assert.equal("{ 1, 2 }", rich.of({ 1, 2 })["text/plain"])
  end)

  it("is a table of parameters where it is a posterior", function()
    local sim = sv.simulator { name = "line", params = { { name = "a", low = 0, high = 1, unit = "m" },
      { name = "kind", low = 1, high = 3, levels = 3 } }, output = { 2 },
      simulate = function(z, out) out[1], out[2] = z.a, z.kind end }
    local model = sv.model { simulator = sim, width = 8 }
    model:train { decoder = { steps = 2 }, encoder = { steps = 2 }, quiet = true }
    local p = model:posterior(sv.tensor { { 0.5, 2 }, { 0.1, 1 } })
    local html = rich.of(p)["text/html"]
    assert.matches("<th>output</th><th>parameter</th><th>mean</th><th>std</th><th>90%% interval</th>", html)
    local mean, low, high = html:match
      "<td[^>]*>2</td><td>a</td><td>([%d.]+)</td><td>[%d.]+</td><td>([%d.]+) to ([%d.]+)</td><td>m</td>"
    for text, v in pairs { [mean] = p:mean():get(2, 1), [low] = p:quantile(0.05):get(2, 1, 1),
      [high] = p:quantile(0.95):get(2, 1, 1) } do
      assert.is_true(math.abs(tonumber(text) - v) < 0.01)
    end
    assert.matches("<td>kind</td><td>[123]</td>", html)
    assert.equal(tostring(p), rich.of(p)["text/plain"])
  end)

  it("is the picture where it is the path of one", function()
    local folder = helper.temporary_folder()
    local path = folder .. "/a.png"
    assert.is_truthy(sv.io.save_png(path, sv.zeros(1, 2, 2)))
    assert.equal("\137PNG", rich.of(path)["image/png"]:sub(1, 4))
    helper.write(folder .. "/b.png", "text")
    assert.is_nil(rich.of(folder .. "/b.png")["image/png"])
    assert.is_nil(rich.of(folder .. "/none.png")["image/png"])
  end)

  it("is a picture of images with lines between them", function()
    local front_end, png = require "simvae.util.front_end"
    front_end.set { display = function(bundle) png = bundle["image/png"] end }
    sv.ones(2, 1, 3, 3):show()
    front_end.set(nil)
    local path = helper.temporary_folder() .. "/two.png"
    helper.write(path, png)
    local picture = assert(sv.io.load_png(path)) -- (channels, H, W), white, grey, white, each pixel magnified
    local scale = picture.shape[3] // 7
    assert.equal(1, picture:get(1, 1, 3 * scale))
    assert.is_true(picture:get(1, 1, 3 * scale + 1) < 0.9)
    assert.equal(1, picture:get(1, 1, 4 * scale + 1))
  end)

  it("is a bar while it is progress", function()
    local bundle = rich.bar "decoder ██████░░░░ 60/100  loss 1 < 2  4 s left"
    assert.matches('decoder <progress value="6" max="10"></progress> 60/100  loss 1 &lt; 2', bundle["text/html"], 1,
      true)
    assert.same({ ["text/plain"] = "decoder done in 3 s" }, rich.bar "decoder done in 3 s")
  end)
end)

describe("help at the cursor", function()
  local env = environment { sv = sv, t = sv.zeros(2), limit = 12 }

  it("is on the name, the option or the call that it is in", function()
    assert.matches("^sv.conv2d%(", inspect("sv.con", "v2d(x, w)", env))
    assert.matches("^sv.conv2d%(", inspect("y = sv.conv2d(x, { 1, (2", ")", env))
    assert.matches("^sv.reshape%(", inspect("t:resh", "ape(1)", env))
    assert.matches("^encoder.labels of model:train", inspect("model:train { encoder = { lab", "els = 1 } }", env))
    assert.equal("12", inspect("lim", "it", env))
    assert.is_nil(inspect("nothing", "", env))
    assert.is_nil(inspect("", "", env))
  end)
end)

describe("the Lua process", function()
  it("answers requests from a pipe with events in JSON, in the order of what is printed", function()
    local folder = helper.temporary_folder()
    local text = ""
    for _, r in ipairs { { "execute", "print 'first'\nlocal n = 3\nn, n / 0", "\n\n" }, { "execute", "nothing.here" },
      { "complete", "sv.conv2" }, { "inspect", "sv.conv\0002d" }, { "is_complete", "if n then" }, { "execute", "" } } do
      text = text .. string.format("%s %d\n%s", r[1], #r[2], r[2]) .. (r[3] or "") -- events are answered
    end
    helper.write(folder .. "/requests", text)
    local code_of_serve = string.format("require('simvae.jupyter').serve(%q, %q)", folder .. "/requests",
      folder .. "/events")
    local printed, code = helper.run((os.getenv "LUA" or "lua5.4") .. " -e " .. helper.quote(code_of_serve))
    assert.same({ "first\n", 0 }, { printed, code })
    local events = {}
    for line in io.lines(folder .. "/events") do events[#events + 1] = assert(json.decode(line)) end
    assert.same({ type = "display", data = { ["text/plain"] = "3" } }, events[1])
    assert.same({ type = "result", data = { ["text/plain"] = "inf" } }, events[2])
    assert.same({ type = "reply", status = "ok" }, events[3])
    assert.equal("error", events[4].status)
    assert.matches("nil value %(global 'nothing'%)", events[4].text)
    assert.same({ "conv2", "conv2d" }, { events[5].typed, events[5].matches[1] })
    assert.matches("^sv.conv2d", events[6].text)
    assert.equal("incomplete", events[7].status)
    assert.equal("ok", events[8].status)
    assert.equal(8, #events)
  end)
end)

describe("the kernel #long", function()
  local python, missing = helper.python("ipykernel", "jupyter_client")
  local prefix, output, code

  -- What came of actions (spec/fixtures/drive_kernel.py).
  local function drive(actions, folder)
    local path = helper.temporary_folder()
    helper.write(path .. "/actions", json.encode(actions))
    local script = absolute "spec/fixtures/drive_kernel.py"
    local text, status = helper.run(string.format("cd %s && JUPYTER_PATH=%s %s -W ignore %s %s/actions %s/results",
      helper.quote(folder or prefix), helper.quote(prefix .. "/share/jupyter"), python, helper.quote(script), path,
      path))
    assert.equal(0, status, text)
    return assert(json.decode(helper.read(path .. "/results")))
  end

  lazy_setup(function()
    if not python then return end
    prefix = helper.temporary_folder()
    output, code = helper.run(string.format("%s/bin/simvae kernel install --python %s --prefix %s", helper.build,
      python, prefix))
  end)

  it("is installed where Jupyter finds it", function()
    if not python then return pending(missing) end
    assert.equal(0, code, output)
    local specification = assert(json.decode(helper.read(prefix .. "/share/jupyter/kernels/simvae/kernel.json")))
    assert.equal("lua", specification.language)
    assert.equal("{connection_file}", specification.argv[4])
    local text, failed = helper.run(helper.build .. "/bin/simvae kernel install --python simvae-no-such-python")
    assert.equal(1, failed)
    assert.matches("there is no program 'simvae%-no%-such%-python'", text)
  end)

  it("runs cells, shows rich output, completes and inspects", function()
    if not python then return pending(missing) end
    local r = drive {
      { execute = "print 'hello'\nlocal a = 20\na + 1, 'two'" },
      { execute = "a * 2" },
      { execute = "error 'planted'" },
      { execute = "sv.zeros(2, 1, 8, 8):show()\nio.stderr:write 'aside\\n'" },
      { execute = "{ { w = 1 }, { w = 2 } }" },
      { complete = "é = 1\nsv.conv2", at = 14 },
      { inspect = "sv.conv2d(", at = 10 },
      { is_complete = "for i = 1, 2 do" },
      { is_complete = "x = 1" },
      { execute = "?sv.conv2d" },
      { execute = "os.exit(3)" },
      { execute = "a" },
      { execute = "x = )" },
    }
    assert.same({ "stdout", "hello\n" }, { r[1].outputs[1].name, r[1].outputs[1].text })
    assert.equal("21", r[1].outputs[2].data["text/plain"])
    assert.same({ "execute_result", '"two"' }, { r[1].outputs[3].kind, r[1].outputs[3].data["text/plain"] })
    assert.equal("40", r[2].outputs[1].data["text/plain"])
    assert.equal("error", r[3].reply.status)
    assert.matches("planted", r[3].reply.evalue)
    assert.equal("iVBORw0K", r[4].outputs[1].data["image/png"]:sub(1, 8)) -- the signature of PNG in base64
    assert.same({ "stderr", "aside\n" }, { r[4].outputs[2].name, r[4].outputs[2].text })
    assert.matches("<table>", r[5].outputs[1].data["text/html"])
    assert.same({ "conv2d", 9, 14 }, { r[6].matches[1], r[6].cursor_start, r[6].cursor_end })
    assert.is_true(r[7].found)
    assert.matches("^sv.conv2d", r[7].data["text/plain"])
    assert.same({ "incomplete", "complete" }, { r[8].status, r[9].status })
    assert.matches("^sv.conv2d", r[10].outputs[1].text)
    assert.matches("the Lua process has ended %(exit code 3%)", r[11].reply.evalue)
    assert.equal("nil", r[12].outputs[1].data["text/plain"])
    assert.matches("unexpected symbol", r[13].reply.evalue)
  end)

  it("lives on after a training is interrupted, with its checkpoint, and restarts", function()
    if not python then return pending(missing) end
    local folder = helper.temporary_folder()
    local training = [[model:train { out = "run", decoder = { steps = %d }, encoder = { steps = %d }, batch = 8 }]]
    local setup = [[sim = sv.simulator { name = "line", params = { { name = "a", low = 0, high = 1 } }, output = { 4 },
      simulate = function(z, out) for i = 1, 4 do out:set(z.a * i, i) end end }
      model = sv.model { simulator = sim, width = 8, seed = 1 }]]
    local r = drive({
      { execute = setup },
      { execute = training:format(1000000, 10), interrupt = "decoder", seconds = 0.5 },
      { execute = "6 * 7" },
      { restart = true },
      { execute = "model" },
      { execute = setup .. "\n" .. training:gsub("run", "again"):format(20, 20) },
    }, folder)
    assert.equal("Interrupted", r[2].reply.ename)
    assert.matches("^interrupted at decoder step %d+", r[2].reply.evalue)
    assert.is_truthy(require("simvae.core").system.kind(folder .. "/run/checkpoint.safetensors"))
    assert.equal("42", r[3].outputs[1].data["text/plain"])
    assert.is_true(r[4].alive)
    assert.equal("nil", r[5].outputs[1].data["text/plain"])
    assert.equal("ok", r[6].reply.status, r[6].reply.evalue)
    local first, last
    for _, o in ipairs(r[6].outputs) do
      if o.kind == "display_data" then first = first or o end
      if o.kind == "update_display_data" then last = o end
    end
    assert.is_truthy(first.transient.display_id)
    assert.matches("20 steps", last.data["text/plain"])
  end)
end)
