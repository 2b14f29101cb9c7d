--- Least squares line of y over x.
-- @tparam {number,...} x
-- @tparam {number,...} y as many
-- @treturn table slope, intercept, r2 (the squared correlation; 0 where x or y is constant), exact
--   (1 - sum (y - x)² / sum (x - mean x)²: how well y agrees with x itself; nil where x is constant)
return function(x, y)
  local n, mx, my = #x, 0, 0
  for i = 1, n do mx, my = mx + x[i] / n, my + y[i] / n end
  local xx, xy, yy, off = 0, 0, 0, 0
  for i = 1, n do
    local a, b = x[i] - mx, y[i] - my
    xx, xy, yy, off = xx + a * a, xy + a * b, yy + b * b, off + (y[i] - x[i]) ^ 2
  end
  if xx == 0 then return { slope = 0, intercept = my, r2 = 0 } end
  return { slope = xy / xx, intercept = my - xy / xx * mx, r2 = yy > 0 and xy * xy / (xx * yy) or 0,
    exact = 1 - off / xx }
end
