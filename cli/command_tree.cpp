#include "cli/command_tree.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

namespace rooster::cli {
namespace {

// Damerau-Levenshtein, restricted: insert, delete, replace, swap neighbours.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before(b.size() + 1);
  std::vector<std::size_t> last(b.size() + 1);
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(last.begin(), last.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replace = last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({row[j - 1] + 1, last[j] + 1, replace});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        row[j] = std::min(row[j], before[j - 2] + 1);
      }
    }
    before.swap(last);
    last.swap(row);
  }
  return last[b.size()];
}

const CommandInfo* find_command(const CommandInfo& parent, std::string_view name) {
  const auto found = std::ranges::find(parent.commands, name, &CommandInfo::name);
  return found == parent.commands.end() ? nullptr : &*found;
}

std::string suggestion(std::string_view kind, std::string_view word,
                       const std::vector<std::string>& known) {
  std::string text = fmt::format("unknown {} \"{}\"", kind, word);
  if (const auto meant = nearest(word, known))
    text += fmt::format("; did you mean \"{}\"?", *meant);
  return text;
}

// Flags may stand behind any command below the one that has them.
std::vector<FlagInfo> flags_in_reach(const std::vector<const CommandInfo*>& path) {
  std::vector<FlagInfo> flags;
  for (const CommandInfo* command : path) {
    flags.insert(flags.end(), command->flags.begin(), command->flags.end());
  }
  return flags;
}

struct Level {
  std::string path;  ///< "machine start"
  const CommandInfo* command;
  std::vector<FlagInfo> flags;
};

void collect(const CommandInfo& command, const std::string& path,
             std::vector<const CommandInfo*>& above, std::vector<Level>& levels) {
  above.push_back(&command);
  levels.push_back({path, &command, flags_in_reach(above)});
  for (const CommandInfo& child : command.commands) {
    collect(child, path.empty() ? child.name : path + ' ' + child.name, above, levels);
  }
  above.pop_back();
}

std::vector<Level> levels_of(const CommandInfo& root) {
  std::vector<Level> levels;
  std::vector<const CommandInfo*> above;
  collect(root, "", above, levels);
  return levels;
}

std::string words_of(const Level& level) {
  std::string words;
  for (const CommandInfo& child : level.command->commands) words += child.name + ' ';
  for (const FlagInfo& flag : level.flags) {
    words += flag.name + ' ';
    if (!flag.short_name.empty()) words += flag.short_name + ' ';
  }
  if (!words.empty()) words.pop_back();
  return words;
}

// Inside single quotes of a shell.
std::string quoted(std::string_view text) {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'') {
      out += "'\\''";
    } else {
      out += c;
    }
  }
  return out + '\'';
}

}  // namespace

std::optional<std::string> nearest(std::string_view word, const std::vector<std::string>& known) {
  std::optional<std::string> best;
  std::size_t best_distance = std::max<std::size_t>(2, word.size() / 3) + 1;
  for (const std::string& candidate : known) {
    // Two letters off a word of two letters is any word.
    const std::size_t off = distance(word, candidate);
    if (off < best_distance && off < candidate.size()) {
      best = candidate;
      best_distance = off;
    }
  }
  return best;
}

std::optional<std::string> find_unknown(const CommandInfo& root,
                                        const std::vector<std::string>& arguments) {
  std::vector<const CommandInfo*> path{&root};
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string_view word = arguments[i];
    if (word == "--") return std::nullopt;
    const CommandInfo& here = *path.back();
    if (word.size() > 1 && word.front() == '-') {
      const std::string_view name = word.substr(0, word.find('='));
      const std::vector<FlagInfo> flags = flags_in_reach(path);
      const auto found = std::ranges::find_if(flags, [name](const FlagInfo& flag) {
        // "-cfile" is -c with its value.
        return flag.name == name || (!flag.short_name.empty() && name.starts_with(flag.short_name));
      });
      if (found == flags.end()) {
        std::vector<std::string> names;
        for (const FlagInfo& flag : flags) names.push_back(flag.name);
        return suggestion("flag", name, names);
      }
      const bool is_joined =
          name.size() != word.size() || (name != found->name && name != found->short_name);
      if (found->takes_value && !is_joined) ++i;
      continue;
    }
    if (here.commands.empty()) continue;  // an argument
    if (const CommandInfo* child = find_command(here, word)) {
      path.push_back(child);
      continue;
    }
    std::vector<std::string> names;
    for (const CommandInfo& child : here.commands) names.push_back(child.name);
    return suggestion("command", word, names);
  }
  return std::nullopt;
}

std::string bash_completion(const CommandInfo& root) {
  std::string cases;
  for (const Level& level : levels_of(root)) {
    cases += fmt::format("    {}) words={} ;;\n", quoted(level.path), quoted(words_of(level)));
  }
  return fmt::format(R"(# {0} completion for bash: source <({0} completion bash)
_{0}() {{
  local word path= words= i
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=${{COMP_WORDS[i]}}
    case $word in -*) continue ;; esac
    case "$path" in "") path=$word ;; *) path="$path $word" ;; esac
  done
  while :; do
    case "$path" in
{1}    *) ;;
    esac
    if [ -n "$words" ] || [ -z "$path" ]; then break; fi
    case "$path" in *" "*) path=${{path% *}} ;; *) path= ;; esac
  done
  COMPREPLY=($(compgen -W "$words" -- "${{COMP_WORDS[COMP_CWORD]}}"))
}}
complete -o default -F _{0} {0}
)",
                     root.name, cases);
}

std::string zsh_completion(const CommandInfo& root) {
  std::string cases;
  for (const Level& level : levels_of(root)) {
    std::string entries;
    for (const CommandInfo& child : level.command->commands) {
      entries += ' ' + quoted(child.name + ':' + child.help);
    }
    for (const FlagInfo& flag : level.flags) entries += ' ' + quoted(flag.name + ':' + flag.help);
    cases += fmt::format("    {}) entries=({} ) ;;\n", quoted(level.path), entries);
  }
  return fmt::format(R"(#compdef {0}
# {0} completion for zsh: {0} completion zsh > "${{fpath[1]}}/_{0}"
_{0}() {{
  local path_words=() word entries=()
  for word in ${{words[2,CURRENT-1]}}; do
    [[ $word == -* ]] || path_words+=($word)
  done
  while :; do
    case "${{(j: :)path_words}}" in
{1}    *) ;;
    esac
    (( $#entries || ! $#path_words )) && break
    path_words[-1]=()
  done
  _describe '{0}' entries || _files
}}
compdef _{0} {0}
)",
                     root.name, cases);
}

std::string fish_completion(const CommandInfo& root) {
  std::string out =
      fmt::format("# {0} completion for fish: {0} completion fish | source\n", root.name);
  out += fmt::format("complete -c {} -f\n", root.name);
  for (const Level& level : levels_of(root)) {
    std::string condition = level.path.empty() ? "__fish_use_subcommand" : "";
    if (!level.path.empty()) {
      for (std::size_t at = 0; at <= level.path.size();) {
        const std::size_t end = std::min(level.path.find(' ', at), level.path.size());
        if (!condition.empty()) condition += "; and ";
        condition += "__fish_seen_subcommand_from " + level.path.substr(at, end - at);
        at = end + 1;
      }
    }
    for (const CommandInfo& child : level.command->commands) {
      out += fmt::format("complete -c {} -n {} -a {} -d {}\n", root.name, quoted(condition),
                         quoted(child.name), quoted(child.help));
    }
    // A flag is written once, at the command that has it.
    for (const FlagInfo& flag : level.command->flags) {
      out += fmt::format("complete -c {} {}-l {}", root.name,
                         level.path.empty() ? "" : "-n " + quoted(condition) + ' ',
                         flag.name.substr(2));
      if (!flag.short_name.empty()) out += " -s " + flag.short_name.substr(1);
      if (flag.takes_value) out += " -r -F";
      out += " -d " + quoted(flag.help) + '\n';
    }
  }
  return out;
}

}  // namespace rooster::cli
