# Formula for Homebrew; `make formula` writes the archive's address and checksum.
class Simvae < Formula
  desc "Learns a simulator and its probabilistic inverse"
  url "@URL@"
  sha256 "@SHA256@"
  license "MIT"

  depends_on "luarocks" => :build
  depends_on "pkgconf" => :build
  depends_on "libpng"
  depends_on "lua@5.4"
  depends_on "openblas"
  depends_on "gnuplot" => :recommended
  depends_on "libngspice" => :recommended

  uses_from_macos "zlib"

  def install
    lua = Formula["lua@5.4"]
    system "make", "install", "PREFIX=#{prefix}", "LUA=#{lua.opt_bin}/lua"
    # Homebrew has no formula of argparse, which the command needs: a tree of this formula's own.
    system "luarocks", "--lua-version=5.4", "--lua-dir=#{lua.opt_prefix}", "--tree=#{libexec}", "install", "argparse"
    inreplace bin/"simvae", /\A#!.*\n/,
              "#!#{lua.opt_bin}/lua\npackage.path = package.path .. ';#{libexec}/share/lua/5.4/?.lua'\n"
  end

  test do
    assert_equal "simvae #{version}\n", shell_output("#{bin}/simvae --version")
    system bin/"simvae", "new", "ball"
    system bin/"simvae", "simulate", "ball.lua", "-n", "4", "--out", "data.npz"
    assert_path_exists testpath/"data.npz"
  end
end
