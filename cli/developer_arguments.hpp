// The developer's commands on the command line: names, flags, and what they call.
#pragma once

#include "cli/developer_way.hpp"
#include "cli/ping_command.hpp"
#include "cli/proxy_command.hpp"
#include "cli/run_cli.hpp"
#include "cli/ssh_console.hpp"

#include <functional>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace rooster::cli {

class DeveloperArguments {
 public:
  /// Makes one command below another.
  using Add = std::function<CLI::App*(CLI::App& parent, const std::string& name,
                                      const std::string& help, std::function<int()> action)>;

  explicit DeveloperArguments(const Console& console) : console_(console) {}
  /// `config_file` and `as_json` are read when a command runs.
  void add_to(CLI::App& root, const Add& add, const std::string& config_file, const bool& as_json);
  /// What stands behind "--" of `rooster proxy`: takes it off `arguments`.
  void take_program(std::vector<std::string>& arguments);

 private:
  void add_way_flags(CLI::App* command);
  void add_proxy(CLI::App& root, const Add& add);
  void add_console(CLI::App& root, const Add& add);
  void add_dig(CLI::App& root, const Add& add);
  void add_ping(CLI::App& root, const Add& add);
  DeveloperOptions options() const;

  const Console& console_;
  const std::string* config_file_ = nullptr;
  const bool* as_json_ = nullptr;
  DeveloperOptions options_;
  ProxyCommand proxy_;
  ConsoleCommand ssh_;
  PingCommand ping_;
  std::vector<std::string> dig_words_;
  bool dig_short_ = false;
};

}  // namespace rooster::cli
