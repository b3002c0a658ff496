// The commands of cli/network_commands.hpp on the command line: names, flags, and what they call.
#pragma once

#include "cli/network_commands.hpp"
#include "cli/run_cli.hpp"

#include <functional>
#include <string>

namespace CLI {
class App;
}

namespace rooster::cli {

class NetworkArguments {
 public:
  /// Makes one command below another.
  using Add = std::function<CLI::App*(CLI::App& parent, const std::string& name,
                                      const std::string& help, std::function<int()> action)>;

  explicit NetworkArguments(const Console& console) : console_(console) {}
  /// `config_file` and `as_json` are read when a command runs.
  void add_to(CLI::App& root, const Add& add, const std::string& config_file, const bool& as_json);

 private:
  void add_login(CLI::App& root, const Add& add);
  void add_tokens(CLI::App& root, const Add& add);
  void add_wireguard(CLI::App& root, const Add& add);
  void add_ips(CLI::App& root, const Add& add);
  NetworkAsking asking() const;

  const Console& console_;
  const std::string* config_file_ = nullptr;
  const bool* as_json_ = nullptr;
  LoginChoice login_;
  TokenChoice token_;
  PeerChoice peer_;
  std::string app_;
  bool lists_machines_ = false;
};

}  // namespace rooster::cli
