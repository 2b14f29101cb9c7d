--- A page in headless Chromium, for the specs.
local helper = require "spec.helper"

local PROGRAMS = { "chromium", "chromium-browser", "google-chrome" }

--- What a script says of a page in a frame of some width.
-- @tparam string folder of the page, which also gets a file of the frame
-- @tparam string path of the page, from the folder or from the root
-- @tparam integer width of the frame, in px
-- @tparam string script JavaScript that returns a value; it may await: `d` is the frame's document, `w` its window
-- @treturn ?string the value as JSON
-- @treturn ?string why there is none: the reason to give to `pending`
return function(folder, path, width, script)
  local program
  for _, name in ipairs(PROGRAMS) do program = program or helper.have(name) and name end
  if not program then return nil, "no Chromium" end
  helper.write(folder .. "/frame.html", [[<html><body><iframe id="f" src="]] .. path .. [[" style="width:]] .. width
    .. [[px;height:900px;border:0"></iframe><pre id="out"></pre><script>
    document.getElementById("f").onload = async () => {
      const w = document.getElementById("f").contentWindow, d = w.document;
      document.getElementById("out").textContent = JSON.stringify(await (async () => { ]] .. script .. [[ })());
    };
    </script></body></html>]])
  local out = helper.run(program .. " --headless --no-sandbox --disable-gpu --enable-logging=stderr "
    .. "--allow-file-access-from-files --window-size=1500,1000 --virtual-time-budget=5000 --dump-dom file://" .. folder
    .. "/frame.html")
  assert(not out:find "Uncaught", out)
  return assert(out:match '<pre id="out">(.-)</pre>', out)
end
