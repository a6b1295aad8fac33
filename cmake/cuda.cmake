# The CUDA backend: a shared library of its own, opened at run time (core/cuda_library.h). LODESTONE_CUDA builds it with nvcc; the tests build it
# for the host's processor, where the toolkit's headers and cuBLASLt are there.
option(LODESTONE_CUDA "Build the CUDA backend (needs nvcc, cuBLAS)" OFF)

set(CUDA_SOURCES)
foreach(name IN ITEMS cuda_backend cuda_call cuda_memory plugin products staging upload_stream)
  list(APPEND CUDA_SOURCES ${CMAKE_SOURCE_DIR}/core/cuda/${name}.cpp)
endforeach()
set(CUDA_KERNELS)
foreach(name IN ITEMS activation attention embedding group_losses groups layer_norm linear optimizer pooling rows scores softmax vectors)
  list(APPEND CUDA_KERNELS ${CMAKE_SOURCE_DIR}/core/cuda/${name}.cu)
endforeach()

find_path(CUDA_TOOLKIT_INCLUDE cuda_runtime_api.h HINTS $ENV{CUDA_HOME}/include /usr/local/cuda/include)
find_library(CUDA_CUBLASLT_LIBRARY cublasLt HINTS $ENV{CUDA_HOME}/lib64 /usr/local/cuda/lib64)

if(LODESTONE_CUDA)
  enable_language(CUDA)
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)  # CMake 3.25 does not know how nvcc 13 is told
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
  find_library(CUDA_CUDART_LIBRARY cudart HINTS $ENV{CUDA_HOME}/lib64 /usr/local/cuda/lib64)
  add_library(lodestone_cuda SHARED ${CUDA_SOURCES} ${CUDA_KERNELS})
  set_target_properties(lodestone_cuda PROPERTIES CUDA_ARCHITECTURES "80-real;90a-real;90-virtual"
    POSITION_INDEPENDENT_CODE ON LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
  target_compile_options(lodestone_cuda PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:--expt-relaxed-constexpr -Xptxas=-warn-spills,-warn-lmem-usage>)
  target_include_directories(lodestone_cuda PRIVATE ${CMAKE_SOURCE_DIR} ${CUDA_TOOLKIT_INCLUDE})
  target_link_libraries(lodestone_cuda PRIVATE ${CUDA_CUBLASLT_LIBRARY} ${CUDA_CUDART_LIBRARY})
  install(TARGETS lodestone_cuda DESTINATION ${CMAKE_INSTALL_LIBDIR}/lodestone)
endif()
