// Any bytes as an app and as rooster.toml: no crash, and what loads can be shown and loads again.
#include "config/parse_app.hpp"
#include "config/parse_node.hpp"
#include "config/show.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace rooster::config;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto app = parse_app(text, "/srv/apps/fuzz.toml");
  for (const auto& one : app.diagnostics) render(one);
  if (app.app) {
    const auto document = to_document(*app.app);
    to_json(document);
    if (!parse_app(to_toml(document), "/srv/apps/fuzz.toml").app) std::abort();
  } else if (!has_errors(app.diagnostics)) {
    std::abort();
  }
  const auto node = parse_node(text, "/srv/rooster.toml");
  for (const auto& one : node.diagnostics) render(one);
  if (node.node) {
    const auto again = parse_node(to_toml(to_document(*node.node)), "/srv/rooster.toml");
    if (again.node != node.node) std::abort();
  } else if (!has_errors(node.diagnostics)) {
    std::abort();
  }
  return 0;
}
