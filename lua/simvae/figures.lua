--- Figures: pictures by our PNG writer, charts by gnuplot. Each figure is a file of
-- figures/ that returns a function, loaded when first asked for:
--
--     sv.figures.grid("grid.png", { x, y }, { labels = { "S(z)", "G(z)" } })
--     sv.figures.heatmap("mim.png", { r.mim, r.truth.mim }, { labels = { "w", "h", "x", "y" } })
--     sv.figures.learning_curves("curves.png", "runs/box/log.csv")
--     sv.figures.errors("errors.png", z, z_hat, { "w", "h" }, { "px", "px" })
--     sv.figures.curves("curves.png", { x, y }, { labels = { "S(z)", "G(z)" }, series = rlc.series })
--     sv.figures.scatter("scatter.png", z, z_hat, { "w", "h" }, { "px", "px" })
--     sv.figures.traversals("traversals.png", model)
--     sv.figures.worst("worst.png", x, y)
--     sv.figures.inference("inference.png", model, { "curve.png", "sketch.png" })
--
-- Each returns the path it wrote, or nil and a message (no such directory, gnuplot
-- missing: then the data file beside the picture is there all the same).
return setmetatable({}, {
  __index = function(self, name)
    if type(name) ~= "string" or not name:match "^[%a_][%w_]*$" then return nil end
    local module = "simvae.figures." .. name
    if not package.loaded[module] and not package.searchpath(module, package.path) then
      error(string.format("figures: there is no '%s' (no file simvae/figures/%s.lua)", name, name), 2)
    end
    local figure = require(module)
    rawset(self, name, figure)
    return figure
  end,
})
