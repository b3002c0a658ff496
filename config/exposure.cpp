#include "config/exposure.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace rooster::config {
namespace {

constexpr std::size_t kMostPorts = 10;

// Each once, in order; the first few of many.
std::string list_of(const AppConfig& app, bool is_exposed) {
  std::vector<std::string> texts;
  for (const Service& service : app.services) {
    for (const Port& port : service.ports) {
      if (app.is_exposed(port) != is_exposed) continue;
      std::string text = fmt::format("{}", port.start);
      if (port.end != port.start) text += fmt::format("-{}", port.end);
      if (service.protocol == Protocol::Udp) text += "/udp";
      if (std::ranges::find(texts, text) == texts.end()) texts.push_back(std::move(text));
    }
  }
  std::string list;
  for (std::size_t i = 0; i < std::min(texts.size(), kMostPorts); ++i) {
    list += (i > 0 ? ", " : "") + texts[i];
  }
  if (texts.size() > kMostPorts) list += fmt::format(" and {} more", texts.size() - kMostPorts);
  return list;
}

}  // namespace

std::string exposure(const AppConfig& app) {
  const std::string open = list_of(app, true);
  const std::string closed = list_of(app, false);
  std::string text;
  if (!open.empty()) text = "public " + open;
  if (!open.empty() && !closed.empty()) text += "; ";
  if (!closed.empty()) text += "private " + closed;
  return text.empty() ? "nothing" : text;
}

bool is_public(const AppConfig& app) {
  return std::ranges::any_of(app.services, [&app](const Service& service) {
    return std::ranges::any_of(service.ports,
                               [&app](const Port& port) { return app.is_exposed(port); });
  });
}

}  // namespace rooster::config
