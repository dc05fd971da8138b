@echo off
rem Sets nnU-Net's variables in this window of cmd, and activates the checkout's .venv where there is one:
rem
rem   scripts\windows\activate.bat [-b BASE]
rem
rem Without a .venv the active environment is used. See `nnunet_ext env --help`.

if "%~1"=="" goto activate
if /i not "%~1"=="-b" goto usage
if "%~2"=="" goto usage
if not "%~3"=="" goto usage
:activate
if exist "%~dp0..\..\.venv\Scripts\activate.bat" call "%~dp0..\..\.venv\Scripts\activate.bat"
where nnunet_ext >nul 2>nul
if errorlevel 1 (
    echo nnunet_ext is not in the active environment. Activate the environment you installed it in, and try again. 1>&2
    exit /b 1
)

rem The lines pass through a file in UTF-8, which cmd reads in that code page, so that any name is kept.
for /f "tokens=2 delims=:." %%p in ('chcp') do set "_nnunet_ext_page=%%p"
set "_nnunet_ext_lines=%TEMP%\nnunet_ext_%RANDOM%%RANDOM%.bat"
chcp 65001 >nul
nnunet_ext env --shell cmd %* >"%_nnunet_ext_lines%"
set "_nnunet_ext_failed=%ERRORLEVEL%"
if "%_nnunet_ext_failed%"=="0" call "%_nnunet_ext_lines%"
chcp %_nnunet_ext_page% >nul
del "%_nnunet_ext_lines%"
set "_nnunet_ext_page="
set "_nnunet_ext_lines="
set "_nnunet_ext_failed=" & exit /b %_nnunet_ext_failed%

:usage
echo Usage: activate.bat [-b FOLDER]; the folder holds nnUNet_raw, nnUNet_preprocessed and nnUNet_results. 1>&2
exit /b 2
