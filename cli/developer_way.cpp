#include "cli/developer_way.hpp"

#include "cli/node_client.hpp"
#include "cli/tunnel_way.hpp"
#include "config/parse_app.hpp"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

namespace rooster::cli {

std::string find_app_name(const std::string& given, const char* environment,
                          const std::string& folder) {
  if (!given.empty()) return given;
  if (environment != nullptr && *environment != '\0') return environment;
  const std::string file = (std::filesystem::path(folder) / "fly.toml").string();
  std::ifstream in(file, std::ios::binary);
  if (!in) return {};
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  const config::ParsedApp parsed = config::parse_app(text, file);
  // A name that comes from the file's own, "fly", is none.
  return parsed.app && parsed.places.app.line > 0 ? parsed.app->name : std::string();
}

std::string no_app_text() {
  return "the config for your app is missing an app name, add an app field to the fly.toml file or "
         "specify with the -a flag";
}

Result<std::unique_ptr<Way>> choose_way(const DeveloperOptions& options, Loop& loop,
                                        Way::Tell tell) {
  const char* const environment = std::getenv("ROOSTER_ADMIN");
  const bool on_node =
      !options.config_file.empty() ||
      (environment != nullptr && *environment != '\0' && options.peer_file.empty());
  if (on_node) {
    const auto admin = find_admin(options.config_file, environment);
    if (!admin) return fail(admin.error());
    if (admin->unix_path.empty()) {
      return fail(
          Fault::Internal,
          admin->to_string() + ": developers' commands need the admin API on a unix socket");
    }
    return std::make_unique<AdminWay>(admin->unix_path);
  }
  if (!options.peer_file.empty()) {
    auto way = TunnelWay::by_file(loop, options, std::move(tell));
    if (!way) return fail(way.error());
    return std::move(*way);
  }
  auto login = find_login(options.network);
  if (!login) {
    return fail(login.error().fault,
                login.error().detail +
                    "; or give a peer's file with --peer <file>, or on the node itself -c "
                    "rooster.toml");
  }
  auto way = TunnelWay::by_login(loop, options, std::move(*login), std::move(tell));
  if (!way) return fail(way.error());
  return std::move(*way);
}

}  // namespace rooster::cli
