// The commands as data: what completion scripts and "did you mean" are made of.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace rooster::cli {

struct FlagInfo {
  std::string name;        ///< "--config"
  std::string short_name;  ///< "-c", or ""
  std::string help;
  bool takes_value = false;
};

struct CommandInfo {
  std::string name;
  std::string help;
  std::vector<FlagInfo> flags;
  std::vector<CommandInfo> commands;
};

/// The known word nearest to `word`: at most two letters off, or a third of its length; swapped
/// neighbours count one.
std::optional<std::string> nearest(std::string_view word, const std::vector<std::string>& known);

/// The first word of `arguments` that is no command or flag where it stands, with what was meant:
/// "unknown command \"srve\"; did you mean \"serve\"?". nullopt: all are known.
std::optional<std::string> find_unknown(const CommandInfo& root,
                                        const std::vector<std::string>& arguments);

std::string bash_completion(const CommandInfo& root);
std::string zsh_completion(const CommandInfo& root);
std::string fish_completion(const CommandInfo& root);

}  // namespace rooster::cli
