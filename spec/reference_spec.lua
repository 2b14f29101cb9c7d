-- The pages that make docs writes: every entry is there, nothing is fetched, search works, narrow screens fit.
local helper = require "spec.helper"
local assert = require "luassert"
local browser = require "spec.browser"
local core = require "simvae.core"
local examples = require "simvae.reference.examples"
local highlight = require "simvae.reference.highlight"
local markdown = require "simvae.reference.markdown"
local page = require "simvae.reference.page"
local reference = require "simvae.reference"
local io_ = require "simvae.io"

-- All examples, as if they had run: the first one drew a picture.
local function pretended()
  local run = examples.all()
  for i, e in ipairs(run) do e.output = i == 1 and "<one> & two" or "" end
  run[1].picture = io_.encode_png(core.ones(4, 4))
  run.steps = 10
  return run
end

local run = pretended()
local html, text = page.html(run), markdown.text(run)

local void = { meta = true, img = true, input = true }

-- Unclosed or wrongly nested tags.
local function nesting(code)
  local open, faults = {}, {}
  code = code:gsub("<script>.-</script>", ""):gsub("<style>.-</style>", ""):gsub("^<!DOCTYPE html>", "")
  for slash, tag in code:gmatch "<(/?)(%w+)[^>]*>" do
    if slash == "/" then
      if open[#open] ~= tag then faults[#faults + 1] = "</" .. tag .. "> in " .. tostring(open[#open]) end
      open[#open] = nil
    elseif not void[tag] then
      open[#open + 1] = tag
    end
  end
  return table.concat(faults, "\n") .. table.concat(open, " ")
end

describe("the reference's page", function()
  it("has every entry once, with its examples", function()
    for entry in reference.entries() do
      if entry.kind ~= "class" and entry.kind ~= "module" then
        local _, count = html:gsub('<section id="' .. entry.name:gsub("%p", "%%%0") .. '"', "")
        assert.equal(1, count, entry.name)
        assert.matches("### `" .. entry.call .. "`\n", text, 1, true)
      end
    end
    assert.equal("", nesting(html))
    assert.matches("&lt;one&gt; &amp; two", html, 1, true)
    assert.matches('alt="What the example of ' .. run[1].entry.name .. ' draws"', html, 1, true)
    assert.matches("![What the example of " .. run[1].entry.name .. " draws](pictures/", text, 1, true)
  end)

  it("shows options with type, range, default and those in tables", function()
    assert.matches('<code>workers</code> <span class="type">whole number, from 0 to 256; default 0</span>', html, 1,
      true)
    assert.matches("<summary>Fields of decoder</summary>", html, 1, true)
    assert.matches("Fields as of <code>decoder</code>", html, 1, true)
    assert.matches("\n- `workers` (whole number, from 0 to 256; default 0): processes", text, 1, true)
    assert.matches('\n  - `labels` (number or string, from 0 to 1; as a string "auto"): of a posterior', text, 1, true)
  end)

  it("needs no other file", function()
    for address in html:gmatch '[^%w]src="([^"]*)' do assert.matches("^data:", address) end
    for address in html:gmatch '<a href="([^"]*)' do assert.matches("^#", address) end
    assert.is_nil(html:match "<link") assert.is_nil(html:match "url%(") assert.is_nil(html:match "@import")
  end)

  it("links to entries that exist", function()
    local ids = {}
    for id in html:gmatch ' id="([^"]*)"' do
      assert.is_nil(ids[id], id .. " is there twice")
      ids[id] = true
    end
    for name in html:gmatch 'href="#([^"]*)' do assert.is_true(ids[name], name) end
  end)

  it("marks keywords, texts, numbers and comments of code", function()
    assert.equal('<span class="word">local</span> a = <span class="text">&quot;x\\&quot;y&quot;</span> .. '
      .. '<span class="number">1e-3</span> <span class="note">-- end</span>\nb(a)',
      highlight 'local a = "x\\"y" .. 1e-3 -- end\nb(a)')
    assert.equal('<span class="text">[[a\nend]]</span>', highlight "[[a\nend]]")
  end)

  it("is searched, and fits a screen of 390 px, in Chromium", function()
    local folder = helper.temporary_folder()
    helper.write(folder .. "/index.html", html)
    local said, why = browser(folder, "index.html", 390, [[
      const lines = [], box = d.getElementById("search");
      const shown = () => [...d.querySelectorAll("section:not([hidden])")].map(s => s.id);
      const search = words => { box.value = words; box.dispatchEvent(new Event("input", { bubbles: true })); };
      lines.push("all " + shown().length);
      lines.push("overflow " + Math.max(0, d.documentElement.scrollWidth - 390));
      search("Observation truncation");
      lines.push("options " + shown().includes("model:train") + " " + !shown().includes("conv2d"));
      search("matmul");
      lines.push("matmul " + shown()[0] + ", " + d.getElementById("count").textContent);
      search("zzz");
      lines.push("none " + shown().length);
      return lines.join("; ");]])
    if not said then return pending(why) end
    local count = select(2, html:gsub("<section id=", ""))
    assert.matches('^"all ' .. count .. '; overflow 0; options true true; matmul matmul, %d+ entr%a+; none 0"$', said)
  end)
end)
