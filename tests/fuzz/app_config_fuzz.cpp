// One app's file: whatever stands in it, the answer is a configuration or the places of what is
// wrong.
#include "config/parse_app.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  namespace config = rooster::config;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const config::ParsedApp parsed = config::parse_app(text, "/apps/fuzz.toml");
  if (parsed.app.has_value() == config::has_errors(parsed.diagnostics)) std::abort();
  for (const config::Diagnostic& diagnostic : parsed.diagnostics) {
    if (config::render(diagnostic).empty()) std::abort();
  }
  // What loads once loads the same again.
  if (parsed.app && config::parse_app(text, "/apps/fuzz.toml").app != parsed.app) std::abort();
  return 0;
}
