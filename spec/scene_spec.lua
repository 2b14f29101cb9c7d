-- The 3-D scene, against closed forms of shading and projected areas, and rays that are traced one by one.
local helper = require "spec.helper"
local core = require "simvae.core"
local scene = require "simvae.simulators.scene"

local side, camera = 64, math.rad(35)
local ambient, ground, value = 0.35, 0.8, 0.95
local plain = { shape = 1, x = 0, y = -4, size = 9, height = 1, turn = 0, tilt = 0, hue = 0, saturation = 1,
  azimuth = 0.7, elevation = 0.8 }

local function with(changes)
  local z = {}
  for name, v in pairs(plain) do z[name] = v end
  for name, v in pairs(changes) do z[name] = v end
  return z
end

local function draw(...)
  local rows = {}
  for i, changes in ipairs { ... } do
    local z = with(changes)
    rows[i] = {}
    for k, p in ipairs(scene.params) do rows[i][k] = z[p.name] end
  end
  return scene:run(core.tensor(rows))
end

-- ---- vectors -----------------------------------------------------------------------------------

local function dot(a, b) return a[1] * b[1] + a[2] * b[2] + a[3] * b[3] end
local function along(a, k, b) return { a[1] + k * b[1], a[2] + k * b[2], a[3] + k * b[3] } end
local view = { 0, math.cos(camera), -math.sin(camera) }
local up = { 0, math.sin(camera), math.cos(camera) }

local function light_of(z)
  local e = math.cos(z.elevation)
  return { e * math.cos(z.azimuth), e * math.sin(z.azimuth), math.sin(z.elevation) }
end

-- Axes of the body (the last one that of the cylinder), half lengths along them, and its centre.
local function body_of(z)
  local ct, st, ca, sa = math.cos(z.turn), math.sin(z.turn), math.cos(z.tilt), math.sin(z.tilt)
  local axes = { { ca * ct, ca * st, -sa }, { -st, ct, 0 }, { sa * ct, sa * st, ca } }
  local half, high = { z.size, z.size, z.size * z.height }, z.size
  if z.shape == 2 then
    high = 0
    for i = 1, 3 do high = high + half[i] * math.abs(axes[i][3]) end
  elseif z.shape == 3 then
    high = half[3] * ca + z.size * sa
  end
  return axes, half, { z.x, z.y, high }
end

-- ---- rays: textbook intersections, of which the renderer has none -------------------------------

-- Where a ray meets the body first, as seen from outside: its distance, or nil, and the normal.
local function hit(z, axes, half, q, d)
  if z.shape == 1 then
    local b, c = dot(q, d), dot(q, q) - z.size ^ 2
    if b * b < c then return nil end
    local t = -b - math.sqrt(b * b - c)
    local p = along(q, t, d)
    return t, { p[1] / z.size, p[2] / z.size, p[3] / z.size }
  end
  local enter, leave, normal = -math.huge, math.huge, nil
  local function slab(a, h)
    local o, s = dot(q, a), dot(d, a)
    if math.abs(s) < 1e-12 then
      if math.abs(o) > h then leave = -math.huge end
      return
    end
    local near, far = (-h - o) / s, (h - o) / s
    if near > far then near, far = far, near end
    if near > enter then
      enter = near
      local k = s < 0 and 1 or -1
      normal = { k * a[1], k * a[2], k * a[3] }
    end
    leave = math.min(leave, far)
  end
  slab(axes[3], half[3])
  if z.shape == 2 then
    slab(axes[1], half[1])
    slab(axes[2], half[2])
  else
    local qa, da = along(q, -dot(q, axes[3]), axes[3]), along(d, -dot(d, axes[3]), axes[3])
    local a, b, c = dot(da, da), dot(qa, da), dot(qa, qa) - z.size ^ 2
    if b * b < a * c then return nil end
    local root = math.sqrt(b * b - a * c)
    if (-b - root) / a > enter then
      enter = (-b - root) / a
      local p = along(qa, enter, da)
      normal = { p[1] / z.size, p[2] / z.size, p[3] / z.size }
    end
    leave = math.min(leave, (-b + root) / a)
  end
  if enter >= leave then return nil end
  return enter, normal
end

-- The brightness (of red, whose colour is `value`) at a point of the screen; nil near the shadow's edge, which is soft:
-- where rays to the light's disc disagree.
local function traced(z, l, sx, sy)
  local axes, half, centre = body_of(z)
  local origin = { sx - centre[1], sy * up[2] - centre[2], sy * up[3] - centre[3] }
  local t, normal = hit(z, axes, half, origin, view)
  if t then return value * (ambient + (1 - ambient) * math.max(0, dot(normal, l))) end
  local p = { sx - centre[1], sy / math.sin(camera) - centre[2], -centre[3] }
  local hits = 0
  for i = 0, 7 do
    local turn = i * math.pi / 4
    local other = math.abs(l[3]) < 0.9 and { 0, 0, 1 } or { 1, 0, 0 }
    local u = along(other, -dot(other, l), l)
    local size = math.sqrt(dot(u, u))
    u = { u[1] / size, u[2] / size, u[3] / size }
    local v = { l[2] * u[3] - l[3] * u[2], l[3] * u[1] - l[1] * u[3], l[1] * u[2] - l[2] * u[1] }
    local ray = along(along(l, 0.25 * math.cos(turn), u), 0.25 * math.sin(turn), v)
    size = math.sqrt(dot(ray, ray))
    ray = { ray[1] / size, ray[2] / size, ray[3] / size }
    if hit(z, axes, half, p, ray) then hits = hits + 1 end
  end
  if hits > 0 and hits < 8 then return nil end
  return ground * (ambient + (hits == 0 and (1 - ambient) * l[3] or 0))
end

describe("a scene", function()
  it("agrees with rays, of any shape, pose and light", function()
    local zs, rows = scene:sample(18, core.rng(6)):totable(), {}
    for i, row in ipairs(zs) do
      local z = {}
      for k, p in ipairs(scene.params) do z[p.name] = row[k] end
      z.shape, z.hue, z.saturation = (i - 1) % 3 + 1, 0, 1
      rows[i] = z
    end
    local x, rng, off, compared = draw(table.unpack(rows)), core.rng(8), {}, 0
    for i, z in ipairs(rows) do
      local l, picture = light_of(z), x[i][1]:totable()
      for _ = 1, 60 do
        local r, c = rng:integer(1, side), rng:integer(1, side)
        local total, known = 0, true
        for a = 1, 4 do
          for b = 1, 4 do
            local v = traced(z, l, c - 1 + (a - 0.5) / 4 - side / 2, side / 2 - r + 1 - (b - 0.5) / 4)
            known = known and v ~= nil
            total = total + (v or 0) / 16
          end
        end
        if known then
          compared = compared + 1
          off[#off + 1] = math.abs(total - picture[r][c])
        end
      end
    end
    table.sort(off)
    assert.is_true(compared > 700, compared)
    -- all but some pixels at edges, where a ramp stands for the area
    assert.is_true(off[math.floor(0.97 * #off)] < 0.01, off[math.floor(0.97 * #off)])
    assert.is_true(off[#off] < 0.15, off[#off])
  end)

  it("shades a sphere as Lambert's law integrates over it", function()
    -- red less cyan in the red channel: what the body alone contributes
    local lights = { { azimuth = -1.6, elevation = 0.9 }, { azimuth = 1.2, elevation = 0.5 }, { size = 11.3, x = 0.4 } }
    for _, z in ipairs(lights) do
      local red, cyan = {}, { hue = 0.5 }
      for name, v in pairs(z) do red[name], cyan[name] = v, v end
      local x = draw(red, cyan)
      local r = with(z).size
      local phase = math.acos(-dot(view, light_of(with(z))))
      local lit = 2 / 3 * (math.sin(phase) + (math.pi - phase) * math.cos(phase)) * r ^ 2
      local expected = value * (ambient * math.pi * r ^ 2 + (1 - ambient) * lit)
      assert.near(1, (x[1][1] - x[2][1]):sum():item() / expected, 0.005)
    end
  end)

  it("shows the faces of a box with their projected areas", function()
    local poses = { { turn = 0.4, tilt = 0.3 }, { turn = 2.5, tilt = 1.1, height = 1.4 },
      { turn = -0.2, height = 0.6 } }
    for _, z in ipairs(poses) do
      z.shape = 2
      local red, cyan = {}, { hue = 0.5 }
      for name, v in pairs(z) do red[name], cyan[name] = v, v end
      local x = draw(red, cyan)
      local axes, half = body_of(with(z))
      local expected, area = 0, 0
      for i = 1, 3 do
        local share = dot(axes[i], view)
        local face = 4 * half[i % 3 + 1] * half[(i + 1) % 3 + 1] * math.abs(share)
        local cosine = -dot(axes[i], light_of(with(z))) * (share > 0 and 1 or -1)
        expected = expected + value * face * (ambient + (1 - ambient) * math.max(0, cosine))
        area = area + face
      end
      assert.near(1, (x[1][1] - x[2][1]):sum():item() / expected, 0.01)
      -- its silhouette: pixels whose colour depends on the hue
      local covered = 0
      for _, line in ipairs((x[1] - x[2])[1]:totable()) do
        for _, v in ipairs(line) do covered = covered + (v > 0.15 and 1 or 0) end
      end
      assert.is_true(math.abs(covered / area - 1) < 0.06, covered / area)
    end
  end)

  it("moves with its place, and mirrors with place and light", function()
    for shape = 1, 3 do
      local pose = { shape = shape, size = 7, turn = 0.5, tilt = 0.4, azimuth = 0.9, elevation = 1 }
      local function changed(t)
        for name, v in pairs(pose) do t[name] = t[name] == nil and v or t[name] end
        return t
      end
      local x = draw(changed { x = -3 }, changed { x = 2 },
        changed { x = 3, turn = math.pi - 0.5, azimuth = math.pi - 0.9 })
      local a, b = core.slice(x[1], 3, 6, 55), core.slice(x[2], 3, 11, 60)
      assert.is_true((a - b):abs():max():item() < 1e-4)
      local mirrored = x[3]:totable()
      local worst = 0
      for k, plane in ipairs(x[1]:totable()) do
        for r, line in ipairs(plane) do
          for c, v in ipairs(line) do worst = math.max(worst, math.abs(v - mirrored[k][r][side + 1 - c])) end
        end
      end
      assert.is_true(worst < 1e-3, worst)
    end
  end)

  it("does not change where a body turns onto itself", function()
    local x = draw({ shape = 3, turn = 0 }, { shape = 3, turn = 2 }, { shape = 2, turn = 0.3 },
      { shape = 2, turn = 0.3 + math.pi / 2 }, { shape = 2, turn = 0.8 })
    assert.is_true((x[1] - x[2]):abs():max():item() < 1e-3)
    assert.is_true((x[3] - x[4]):abs():max():item() < 1e-3)
    assert.is_true((x[3] - x[5]):abs():max():item() > 0.1)
  end)

  it("has the colours of the hue circle", function()
    local expected = { [0] = { 1, 0, 0 }, { 1, 1, 0 }, { 0, 1, 0 }, { 0, 1, 1 }, { 0, 0, 1 }, { 1, 0, 1 } }
    for i = 0, 5 do
      local x = draw { hue = i / 6, saturation = 1, elevation = 1, azimuth = -math.pi / 2 }
      local full = draw { saturation = 0, elevation = 1, azimuth = -math.pi / 2 }
      local row, column = 25, 33 -- within the sphere
      for k = 1, 3 do assert.near(expected[i][k] * full:get(1, k, row, column), x:get(1, k, row, column), 1e-4) end
      local pale = draw { hue = i / 6, saturation = 0.5, elevation = 1, azimuth = -math.pi / 2 }
      for k = 1, 3 do
        assert.near((0.5 + 0.5 * expected[i][k]) * full:get(1, k, row, column), pale:get(1, k, row, column), 1e-4)
      end
    end
  end)

  it("is the same for any number of threads, and ground alone where numbers make no body", function()
    local z = scene:sample(30, core.rng(2))
    local one, three = helper.by_threads(function() return scene:run(z):totable() end)
    assert.same(one, three)
    local x = draw({ x = 0 / 0 }, { size = 1e9 }, { size = -1 }, { shape = 2, height = 0 }, { elevation = 0 },
      { shape = 3, height = 0.011, tilt = math.pi / 2, turn = 0 }, { shape = 2, tilt = 40, turn = 1e3 })
    assert.is_true(x:finite())
    assert.is_true(x:within(0, 1))
    for i = 1, 5 do assert.equal(0, (x[i] - x:get(i, 1, 1, 1)):abs():max():item()) end
  end)
end)
