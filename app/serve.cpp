#include "app/serve.hpp"

#include "app/server.hpp"
#include "config/config_set.hpp"
#include "keeper/client.hpp"
#include "keeper/keeper.hpp"

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>

#include <sys/prctl.h>
#include <sys/stat.h>

namespace rooster::app {

namespace {

// What an operator gets wrong shows before anything is forked. Empty data: it was printed.
std::string data_folder(const std::string& config_file) {
  const config::LoadResult loaded = config::load(config_file);
  for (const config::Diagnostic& diagnostic : loaded.diagnostics) {
    std::fprintf(stderr, "%s\n", render(diagnostic).c_str());
  }
  if (!loaded.set) {
    std::fprintf(stderr, "rooster: the configuration has errors; nothing was started\n");
    return {};
  }
  const std::string& data = loaded.set->node.fixed.data;
  std::error_code failed;
  std::filesystem::create_directories(data, failed);
  if (failed) {
    std::fprintf(stderr, "rooster: data = \"%s\": %s; create it, or set data in %s\n", data.c_str(),
                 failed.message().c_str(), config_file.c_str());
    return {};
  }
  ::chmod(data.c_str(), 0711);  // the local CA's certificate below it is for everybody
  return data;
}

std::string_view name_of_format(LogFormat format) {
  return format == LogFormat::Json ? "json" : "human";
}

}  // namespace

int serve(const cli::ServeOptions& options) {
  if (std::getenv(keeper::kChannelVariable) != nullptr) {
    ::prctl(PR_SET_NAME, "rooster");  // executed by descriptor, it would be called "exe"
    return run_server(options);
  }
  const std::string data = data_folder(options.config_file);
  if (data.empty()) return 1;
  keeper::KeeperOptions keeper;
  keeper.data_dir = data;
  keeper.server_argv = {"rooster",      "serve",
                        "-c",           options.config_file,
                        "--log-format", std::string(name_of_format(options.log_format)),
                        "--log-level",  std::string(name_of(options.log_level))};
  return keeper::run_keeper(std::move(keeper));
}

}  // namespace rooster::app
