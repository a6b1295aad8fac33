# Finds the libraries, below CMAKE_PREFIX_PATH first, then in the system. What is missing is named all at once by lodestone_require_found().

# lodestone_package(NAME DEBIAN_PACKAGE [ARGUMENTS...]): a library that find_package() knows. A macro: what it found is for the caller.
macro(lodestone_package name debian)
  find_package(${name} QUIET ${ARGN})
  if(NOT ${name}_FOUND)
    list(APPEND LODESTONE_MISSING "  ${name} (Debian: ${debian})")
  endif()
endmacro()

# lodestone_find(NAME DEBIAN_PACKAGE HEADER FOLDERS LIBRARY...): the imported target lodestone::NAME of a header and the first LIBRARY that
# is there. FOLDERS: where below include/ and lib/ they may lie too. NAME_INCLUDE_DIR and NAME_LIBRARY may be given instead.
function(lodestone_find name debian header folders)
  string(TOUPPER ${name} prefix)
  find_path(${prefix}_INCLUDE_DIR ${header} PATH_SUFFIXES ${folders})
  find_library(${prefix}_LIBRARY NAMES ${ARGN} PATH_SUFFIXES ${folders})
  mark_as_advanced(${prefix}_INCLUDE_DIR ${prefix}_LIBRARY)
  foreach(part IN ITEMS "INCLUDE_DIR;${header}" "LIBRARY;lib${ARGV4}")
    list(GET part 0 variable)
    list(GET part 1 file)
    if(NOT ${prefix}_${variable})
      list(APPEND LODESTONE_MISSING "  ${file} of ${name} (Debian: ${debian})")
    endif()
  endforeach()
  set(LODESTONE_MISSING "${LODESTONE_MISSING}" PARENT_SCOPE)
  add_library(lodestone::${name} UNKNOWN IMPORTED GLOBAL)
  set_target_properties(lodestone::${name} PROPERTIES
    IMPORTED_LOCATION "${${prefix}_LIBRARY}" INTERFACE_INCLUDE_DIRECTORIES "${${prefix}_INCLUDE_DIR}")
endfunction()

# Ends here, with a line for each, when something was missing.
function(lodestone_require_found)
  if(LODESTONE_MISSING)
    string(JOIN "\n" lines ${LODESTONE_MISSING})
    message(FATAL_ERROR "Not found:\n${lines}\nInstall the packages (./launch/setup.sh does), or name the prefixes that hold the libraries:\n"
      "  -DCMAKE_PREFIX_PATH=\"PREFIX;PREFIX\"  (those searched now: \"${CMAKE_PREFIX_PATH}\")")
  endif()
endfunction()

# What is linked is found where it was linked, also once the program is installed. A library below one of the prefixes may need another
# one that is not linked, so all their folders are searched, and by an RPATH, which (unlike a RUNPATH) counts for libraries of libraries.
macro(lodestone_keep_rpath)
  set(CMAKE_INSTALL_RPATH_USE_LINK_PATH ON)
  cmake_path(CONVERT "$ENV{CMAKE_PREFIX_PATH}" TO_CMAKE_PATH_LIST prefixes)
  foreach(prefix IN LISTS CMAKE_PREFIX_PATH prefixes)
    foreach(folder IN ITEMS lib lib64 lib/${CMAKE_LIBRARY_ARCHITECTURE})
      if(IS_DIRECTORY "${prefix}/${folder}" AND NOT "${prefix}/${folder}" IN_LIST CMAKE_C_IMPLICIT_LINK_DIRECTORIES)
        list(APPEND CMAKE_BUILD_RPATH "${prefix}/${folder}")
        list(APPEND CMAKE_INSTALL_RPATH "${prefix}/${folder}")
      endif()
    endforeach()
  endforeach()
  if(CMAKE_BUILD_RPATH)
    add_link_options(LINKER:--disable-new-dtags)
  endif()
endmacro()
