// The operator's commands, one function each. All ask the node and print; each returns the exit
// status.
#pragma once

#include "cli/node_client.hpp"
#include "cli/run_cli.hpp"

#include <string>
#include <vector>

namespace rooster::cli {

/// What the commands have in common.
struct Asking {
  const NodeClient& node;
  const Console& console;
  bool as_json = false;
};

int print_error(const Console& console, std::string_view message);

int show_status(const Asking& asking, const std::string& app);
int show_checks(const Asking& asking, const std::string& app);
/// "https://..." or a host name is a URL; a bare word is an app.
int explain(const Asking& asking, const std::string& subject);
int reload(const Asking& asking);
int show_running_config(const Asking& asking, const std::string& app);

struct LogChoice {
  std::string app;
  std::string machine;
  std::string region;
  std::size_t lines = 100;
  bool follow = false;
};
int show_logs(const Asking& asking, const LogChoice& choice);

int list_machines(const Asking& asking, const std::string& app, bool only_ids);

struct MachineChoice {
  std::string order;  ///< start, stop, suspend, cordon, uncordon
  std::vector<std::string> ids;
  std::string app;  ///< all machines of this app, where no id is given
  std::string signal;
  std::string timeout_seconds;
};
int order_machines(const Asking& asking, const MachineChoice& choice);

}  // namespace rooster::cli
